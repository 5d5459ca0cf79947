# Sourced by the other scripts: makes the virtual environment in the checkout and sets PYTHON to its
# interpreter. Installation runs again only when the requirements have changed. The script that sources this may set
#   groups=dev       to install what development needs, too
#   versions=lowest  to install the lowest versions that requirements.txt allows
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

environment=.venv
requirements() { cat requirements.txt; }
if [ "${versions:-}" = lowest ]; then
  environment=.venv-lowest
  requirements() { sed 's/>=/==/' requirements.txt; }
fi
stamp=$environment/.installed${groups:+-$groups}
wanted=$(requirements | cat - pyproject.toml | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  python=
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "error: Python 3.11, 3.12 or 3.13 is needed; none was found on PATH" >&2
    exit 2
  fi
  echo "Installing into $environment with $("$python" --version): once, one to two minutes, 2.5 GB ..."
  if ! "$environment/bin/python" -m pip --version > /dev/null 2>&1; then
    # Debian's Python makes half an environment where its package python3-venv is missing.
    "$python" -m venv --clear "$environment" || exit 1
  fi
  # pip's own progress, which it shows on a terminal alone. Python compiles what is used when it is first imported.
  options=(--no-compile --disable-pip-version-check)
  if ! [ -t 1 ]; then options+=(-qq); fi
  if [ -n "${groups:-}" ]; then
    "$environment/bin/python" -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1" || exit 1  # knows --group
  fi
  "$environment/bin/python" -m pip install "${options[@]}" -r <(requirements) ${groups:+--group "$groups"} || exit 1
  printf '%s' "$wanted" > "$stamp"
  if [ -n "${groups:-}" ]; then cp "$stamp" "$environment/.installed"; fi
fi
unset PYTHONDONTWRITEBYTECODE  # some containers set it: each command would compile TensorFlow anew, for 6 seconds
PYTHON=$environment/bin/python
