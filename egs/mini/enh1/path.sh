# Where the recipe finds the package's environment; sourced by run.sh.
# An active environment is used; otherwise the repository's own is made.
MAIN_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export MAIN_ROOT
# shellcheck source=local/setup_env.sh
. "${MAIN_ROOT}/local/setup_env.sh"
# HYBRIDSE_INSTALL=false takes an active environment as it is, where nothing may be installed.
[ "${HYBRIDSE_INSTALL:-true}" = false ] || setup_env "${MAIN_ROOT}"
export PYTHONUNBUFFERED=1
