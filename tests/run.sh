#!/usr/bin/env bash
# The one test command: sets up the environment as run.sh does and runs the tests.
# Arguments go to pytest: ./tests/run.sh -k sampler; ./tests/run.sh -n 0 runs them in one process.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=local/setup_env.sh
. "${root}/local/setup_env.sh"
setup_env "${root}"
cd "${root}"
# A file's tests stay together: they share models and corpora that are made once. In order: files of
# one long test would come last.
exec python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
  tests "$@"
