# find_python [VERSION ...]: prints the first of the versions found, by default the newest from
# 3.10 to 3.13, that can make an environment.
# Looks on PATH and where version managers (pyenv, uv, conda) keep interpreters off it.
# HYBRIDSE_PYTHON names one and ends the search.
find_python() {
  local version candidate
  if [ -n "${HYBRIDSE_PYTHON:-}" ]; then
    echo "${HYBRIDSE_PYTHON}"
    return 0
  fi
  [ $# -gt 0 ] || set -- 3.13 3.12 3.11 3.10
  for version in "$@"; do
    for candidate in \
      "$(command -v "python${version}" 2>/dev/null)" \
      "${PYENV_ROOT:-${HOME}/.pyenv}"/versions/"${version}"*/bin/python \
      "${HOME}"/.local/share/uv/python/cpython-"${version}"*/bin/python3 \
      "${HOME}"/{miniconda3,miniforge3,anaconda3}/bin/python \
      "$(command -v python3 2>/dev/null)"; do
      # A version manager's shim may exist for an interpreter that is not selected: run it.
      if [ -x "${candidate}" ] && "${candidate}" -c "
import sys, venv, ensurepip
sys.exit('%d.%d' % sys.version_info[:2] != '${version}')" >/dev/null 2>&1; then
        echo "${candidate}"
        return 0
      fi
    done
  done
  echo "No Python 3.10 to 3.13 with the venv module was found. Install one, for example" >&2
  echo "  apt-get install python3 python3-venv    or    pyenv install 3.13" >&2
  echo "or name one: HYBRIDSE_PYTHON=/path/to/python ./run.sh" >&2
  return 1
}
