#!/usr/bin/env bash
# Runs the linter, the type checker and the tests: of each claim at least one; with --all, everything; with
# --keras=lowest, on the lowest versions that requirements.txt allows. Other arguments go to pytest. Does its own set-up.
set -u
versions=
groups=dev
arguments=()
for argument in "$@"; do
  case $argument in
    --keras=lowest) versions=lowest ;;
    --keras=*) echo "error: --keras must be lowest. Received: $argument" >&2; exit 2 ;;
    *) arguments+=("$argument") ;;
  esac
done
# shellcheck source=tools/_setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"
"$PYTHON" -m ruff check . && "$PYTHON" -m ruff format --check . || exit
if [ -z "$versions" ]; then  # older libraries say other types of themselves
  "$PYTHON" -m mypy || exit
fi
# A file's tests share what they train, so that one worker has them all.
exec "$PYTHON" -m pytest -n auto --maxprocesses=8 --dist loadfile ${arguments[@]+"${arguments[@]}"}
