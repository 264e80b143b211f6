# Turns '--name value' into the shell variable name=value; sourced by recipes.
# Only names that the recipe has given a default are accepted; '--help' prints help_message.
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      printf '%s\n' "${help_message}"
      exit 0
      ;;
    --*)
      option_name=${1#--}
      option_name=${option_name%%=*}
      option_name=${option_name//-/_}
      if ! [[ "${option_name}" =~ ^[a-z_][a-z0-9_]*$ ]] || [ -z "${!option_name+set}" ]; then
        echo "$0: unknown option '$1'; './run.sh --help' lists them" >&2
        exit 2
      fi
      if [[ "$1" == *=* ]]; then
        printf -v "${option_name}" '%s' "${1#*=}"
        shift
      elif [ $# -lt 2 ]; then
        echo "$0: option '$1' needs a value" >&2
        exit 2
      else
        printf -v "${option_name}" '%s' "$2"
        shift 2
      fi
      ;;
    *)
      echo "$0: unexpected argument '$1'; options are written '--name value'" >&2
      exit 2
      ;;
  esac
done
unset option_name
