#!/usr/bin/env bash
# The recipe of URGENT 2026, track 1: the hybrid system on the challenge's corpora, paper preset.
set -euo pipefail
called_from=${PWD}
cd "$(dirname "$0")"
MAIN_ROOT=$(cd ../../.. && pwd)

recipe=egs/urgent26/enh1
preset=paper
ngpu=1
num_train=1300000     # the paper's number of clean utterances
num_valid=2200        # as many as the challenge validates on: 200 of each of 11 corpora
num_test=1000         # ours: the size of the challenge's own test sets
num_fusion=100000     # ours
metrics="PESQ ESTOI DNSMOS_OVRL NISQA UTMOS SCOREQ SpeechBERTScore LPS SpkSim EmoSim LID CAcc"
test_set=test

db=
datadir=data
audiodir=downloads/audio
selection=
valid_selection=
num_wind=400
num_rirs=3000
challenge_dir=
test_dir=
own_paths="db selection valid_selection challenge_dir test_dir"
own_help="  --db FILE          names the corpora's folders, instead of db.sh
  --datadir DIR --audiodir DIR
                     lists; copies at the rate that a file fills (${datadir}, ${audiodir})
  --selection FILE --valid_selection FILE
                     the challenge's lists of selected utterances; without one, all are taken
  --num_wind N --num_rirs N
                     wind noises and room responses made where db.sh has none (${num_wind}, ${num_rirs})
  --challenge_dir DIR
                     go on from the challenge's folders below this checkout of it instead:
                     data/validation, and data/train_simulation or data/train_sources. Their audio is
                     neither copied nor converted
  --test_dir DIR     a test set by its wav.scp and spk1.scp; else one is simulated, or, with
                     --challenge_dir, stages 9 to 11 take the validation set"

check_own_options() {
  [ -n "${challenge_dir}" ] || return 0
  [ -f "${challenge_dir}/data/validation/wav.scp" ] ||
    refuse challenge_dir "a folder where the challenge's utils/prepare_validation_data.sh made data/validation"
  [ -f "${challenge_dir}/data/train_simulation/wav.scp" ] || [ -d "${challenge_dir}/data/train_sources" ] ||
    refuse challenge_dir "a folder where the challenge's utils/prepare_train_data.sh made data/train_sources"
  if [ -z "${test_dir}" ]; then
    test_set=valid
    echo "No --test_dir: stages 9 to 11 take the challenge's validation set"
  fi
}

urgent26() { python -m espnet_hybridse.corpora.urgent26 "$@"; }

prepare_data() {
  if [ -z "${challenge_dir}" ]; then
    local/data.sh --nj "${nj}" --data "${datadir}" --audio "${audiodir}" ${db:+--db "${db}"} \
      --num_wind "${num_wind}" --num_rirs "${num_rirs}" ${selection:+--selection "${selection}"} \
      ${valid_selection:+--valid_selection "${valid_selection}"}
  elif has_simulated train; then
    echo "The challenge's data/train_simulation is taken: no source lists are needed"
  else
    urgent26 --challenge_dir "${challenge_dir}" --data "${datadir}/train"
  fi
}

has_simulated() {
  case $1 in
    train) [ -n "${challenge_dir}" ] && [ -f "${challenge_dir}/data/train_simulation/wav.scp" ] ;;
    valid) [ -n "${challenge_dir}" ] ;;
    test) [ -n "${test_dir}" ] ;;
  esac
}

take_simulated() {
  local from=(--challenge_dir "${challenge_dir}")
  [ "$1" != test ] || from=(--set_dir "${test_dir}")
  urgent26 --simulated "$1" "${from[@]}" --data "${dumpdir}/raw/$1"
}

# shellcheck source=local/recipe.sh
. "${MAIN_ROOT}/local/recipe.sh"
