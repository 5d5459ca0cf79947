#!/usr/bin/env bash
# Runs the linter and the tests; arguments go to pytest. Does its own set-up.
set -u
# shellcheck source=tools/_setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"
"$PYTHON" -m ruff check . && "$PYTHON" -m ruff format --check . && exec "$PYTHON" -m pytest -n auto --maxprocesses=8 "$@"
