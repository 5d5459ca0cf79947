# Sourced by the other scripts: makes the virtual environment in the checkout and sets PYTHON to its
# interpreter. Installation runs again only when the requirements have changed. With versions=lowest, it has the lowest
# versions that requirements.txt allows.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

environment=.venv
requirements() { cat requirements.txt; }
if [ "${versions:-}" = lowest ]; then
  environment=.venv-lowest
  requirements() { sed 's/>=/==/' requirements.txt; }
fi
stamp=$environment/.installed
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
  echo "Installing into $environment with $("$python" --version) (once; about two minutes) ..."
  if ! "$environment/bin/python" -m pip --version > /dev/null 2>&1; then
    # Debian's Python makes half an environment where its package python3-venv is missing.
    "$python" -m venv --clear "$environment" || exit 1
  fi
  "$environment/bin/python" -m pip install -qq --upgrade pip || exit 1
  "$environment/bin/python" -m pip install -qq -r <(requirements) --group dev || exit 1
  printf '%s' "$wanted" > "$stamp"
fi
PYTHON=$environment/bin/python
