#!/usr/bin/env bash
# Stage 1 of the challenge's recipe: lists of speech, noise, wind and room responses under
# data/{train,valid,test}, from the corpora that db.sh names.
set -euo pipefail

stage=1
stop_stage=17
nj=2
db=db.sh
data=data
audio=downloads/audio
selection=
valid_selection=
num_wind=400
num_rirs=3000
seed=0
list=false

help_message="Usage: local/data.sh [--name value ...]

  --stage N --stop_stage M  (${stage}, ${stop_stage})
       1 DNS5_SPEECH  2 LIBRITTS  3 VCTK  4 EARS  5 MLS  6 COMMONVOICE  7 NNCES  8 SENIORTALK
       9 VOCALSET  10 ESD  11 DNS5_NOISE  12 WHAM  13 FSD50K  14 FMA  15 WIND  16 RIRS
       17 joins their lists
  --nj N             processes (${nj})
  --db FILE          names the corpora's folders (${db})
  --data DIR         where lists go (${data})
  --audio DIR        where copies at the rate that a file fills go, and made noise (${audio})
  --selection FILE   the challenge's list of selected train utterances, one uid a line
  --valid_selection FILE
                     and of validation utterances; without them all utterances are taken
  --num_wind N --num_rirs N --seed N
                     what is made where WIND or RIRS is empty (${num_wind}, ${num_rirs}, ${seed})
  --list B           true: say what to download, from where, under which licence, and stop

A corpus whose variable is empty is left out and said so. Every stage can be stopped and run again."
MAIN_ROOT=${MAIN_ROOT:-$(cd "$(dirname "$0")/../../../.." && pwd)}
. "${MAIN_ROOT}/local/parse_options.sh"

[ -f "${db}" ] || { echo "local/data.sh: --db ${db}: no such file" >&2; exit 2; }
case "${db}" in */*) ;; *) db=./${db} ;; esac
# shellcheck source=egs/urgent26/enh1/db.sh
. "${db}"
folders=()
for name in DNS5_SPEECH LIBRITTS VCTK EARS MLS COMMONVOICE NNCES SENIORTALK VOCALSET ESD \
  DNS5_NOISE WHAM FSD50K FMA WIND RIRS; do
  folders+=(--folder "${name}=${!name:-}")
done
options=(--stage "${stage}" --stop_stage "${stop_stage}" --nj "${nj}" --data "${data}"
  --audio "${audio}" --num_wind "${num_wind}" --num_rirs "${num_rirs}" --seed "${seed}")
[ -z "${selection}" ] || options+=(--selection "${selection}")
[ -z "${valid_selection}" ] || options+=(--valid_selection "${valid_selection}")
[ "${list}" != true ] || options+=(--list)
python -m espnet_hybridse.corpora.urgent26 "${options[@]}" "${folders[@]}"
