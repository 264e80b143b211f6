#!/usr/bin/env bash
# The one test command: sets up the environment as run.sh does and runs the tests.
# Arguments go to pytest: ./tests/run.sh -k sampler
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=local/setup_env.sh
. "${root}/local/setup_env.sh"
setup_env "${root}"
cd "${root}"
exec python -m pytest -q tests "$@"
