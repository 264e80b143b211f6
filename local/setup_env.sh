# Makes and activates the environment; sourced by run.sh and tests/run.sh from the repository root.
# An active virtual or conda environment is used as it is; otherwise .venv is made (VENV names
# another folder). The second call finds everything done and returns at once.
setup_env() {
  local root=$1 python version stamp extras prefix
  shift
  extras=${1:-all,test}
  # shellcheck source=local/find_python.sh
  . "${root}/local/find_python.sh"
  if [ -n "${VENV:-}" ] || { [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; }; then
    local venv=${VENV:-${root}/.venv}
    # A kill while it was made leaves one without pip.
    if ! "${venv}/bin/python" -m pip --version >/dev/null 2>&1; then
      python=$(find_python) || return 1
      echo "Making ${venv} with $("${python}" --version)"
      "${python}" -m venv --clear "${venv}" || return 1
    fi
    # shellcheck disable=SC1091
    . "${venv}/bin/activate"
  fi
  prefix=$(python -c 'import sys; print(sys.prefix)') || return 1
  stamp=$(cat "${root}/setup.py" "${root}/local/setup_env.sh" <(echo "${root} ${extras}") | cksum)
  if [ "$(cat "${prefix}/.hybridse" 2>/dev/null)" = "${stamp}" ]; then
    return 0
  fi
  version=$(python -c 'import sys; print("%d%02d" % sys.version_info[:2])')
  if [ "${version}" -lt 310 ] || [ "${version}" -gt 313 ]; then
    echo "Python $(python --version) is active; 3.10 to 3.13 are supported. Deactivate it, or" >&2
    echo "activate an environment of one of those." >&2
    return 1
  fi
  # ESPnet 202511 has a dependency that pip 26 refuses.
  [ "${version}" -ge 312 ] || python -m pip install -qq "pip<26" || return 1
  echo "Installing espnet_hybridse[${extras}]; a few minutes, about 3 GB of downloads"
  python -m pip install -qq -e "${root}[${extras}]" || return 1
  case ",${extras}," in *,all,* | *,scoring,*)
    # Its requirements name a package that needs a compiler; the wheel that replaces it is there.
    python -m pip install -qq --no-deps resemblyzer==0.1.4 || return 1
    # Source only: without a compiler the PESQ column stays empty and says why.
    python -m pip install -qq pesq==0.0.4 || {
      echo "PESQ could not be built and its column will be missing. To have it:"
      echo "  apt-get install build-essential python3-dev && pip install pesq==0.0.4"
    } ;;
  esac
  echo "${stamp}" >"${prefix}/.hybridse"
}
