#!/usr/bin/env bash
# Sets up an environment where none is active and runs the mini recipe; all options are passed on.
#   ./run.sh --help
set -euo pipefail
exec "$(cd "$(dirname "$0")" && pwd)/egs/mini/enh1/run.sh" "$@"
