#!/usr/bin/env bash
# The mini recipe: the whole hybrid system on real speech, two CPU cores.
set -euo pipefail
called_from=${PWD}
cd "$(dirname "$0")"
MAIN_ROOT=$(cd ../../.. && pwd)

recipe=egs/mini/enh1
preset=mini
ngpu=0
num_train=1000
num_valid=60
num_test=70
num_fusion=200
metrics="PESQ ESTOI DNSMOS_OVRL DistillMOS SpkSim_Resemblyzer CAcc_Whisper CAcc0_Whisper Loops_Whisper"
datadir=data
test_set=test

speech_dir=
noise_dir=
own_paths="speech_dir noise_dir"
own_help="  --speech_dir DIR --noise_dir DIR
                     own recordings instead of the downloaded corpus"

prepare_data() {
  local/data.sh --nj "${nj}" ${speech_dir:+--speech_dir "${speech_dir}"} ${noise_dir:+--noise_dir "${noise_dir}"}
}

check_own_options() { :; }
has_simulated() { false; }

# shellcheck source=local/recipe.sh
. "${MAIN_ROOT}/local/recipe.sh"
