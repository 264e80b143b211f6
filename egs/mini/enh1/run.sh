#!/usr/bin/env bash
# The mini recipe: the whole hybrid system on real speech, two CPU cores.
set -euo pipefail
called_from=${PWD}
cd "$(dirname "$0")"

stage=1
stop_stage=11
nj=$(nproc 2>/dev/null || echo 2)
ngpu=0
num_nodes=1
seed=0
preset=mini
from_scratch=false
max_hours=
num_train=1000
num_valid=60
num_test=70
num_fusion=200
token_backend=
token_model=
units=
sqa=
metrics="PESQ ESTOI DNSMOS_OVRL SpkSim_Resemblyzer CAcc_Whisper"
speech_dir=
noise_dir=
dumpdir=dump
expdir=exp

help_message="Usage: ./run.sh [--name value ...]

  --stage N --stop_stage M  (${stage}, ${stop_stage})
       1 data  2 simulation  3 checks  4 tokens  5 train Dis.  6 train Gen.
       7 branch outputs for the fusion  8 train Hybrid  9 enhance the test set  10 score
       11 report
  --nj N             processes of the data and scoring stages (${nj})
  --ngpu N           GPUs of training (${ngpu})
  --num_nodes N      machines of training (${num_nodes})
  --seed N           of simulation and training (${seed})
  --preset NAME      conf/NAME of the repository: mini, fast or paper (${preset})
  --from_scratch B   true: random weights; false: start from pretrained/ (${from_scratch})
  --max_hours H      training, all three models together; else 0.12 for mini, and what
                     conf/NAME says (max_epoch) for fast and paper
  --num_train N --num_valid N --num_test N
                     simulated utterances (${num_train}, ${num_valid}, ${num_test})
  --num_fusion N     training utterances whose branch outputs stage 7 makes (${num_fusion})
  --token_backend B  kmeans or xcodec; by default kmeans for mini, xcodec else
  --token_model M    id or folder of the codec or of the k-means encoder
  --units N          k-means tokens when from scratch (256)
  --sqa PATH         quality network of the fusion's SQA loss: a folder of hybridse train-sqa or a
                     hub's id; without it the term is off
  --metrics NAMES    columns of the results table (${metrics})
  --speech_dir DIR --noise_dir DIR
                     own recordings instead of the downloaded corpus
  --dumpdir DIR --expdir DIR  (${dumpdir}, ${expdir})

Every stage can be stopped and run again; what is done is skipped."
MAIN_ROOT=$(cd ../../.. && pwd)
. "${MAIN_ROOT}/local/parse_options.sh"

refuse() {
  echo "run.sh: --$1 ${!1}: expected $2" >&2
  exit 2
}
for name in stage stop_stage nj ngpu num_nodes seed num_train num_valid num_test num_fusion; do
  [[ "${!name}" =~ ^[0-9]+$ ]] || refuse "${name}" "a whole number"
done
[[ "${units}" =~ ^[0-9]*$ ]] || refuse units "a whole number"
[ -n "${max_hours}" ] || [ "${preset}" != mini ] || max_hours=0.12
[[ -z "${max_hours}" || "${max_hours}" =~ ^[0-9]*\.?[0-9]+$ && "${max_hours}" =~ [1-9] ]] ||
  refuse max_hours "hours above 0, such as 0.2"
[[ "${from_scratch}" =~ ^(true|false)$ ]] || refuse from_scratch "true or false"
[[ "${token_backend}" =~ ^(kmeans|xcodec|)$ ]] || refuse token_backend "kmeans or xcodec"
for name in speech_dir noise_dir token_model sqa; do
  # Folders are meant from where the command was typed, not from the recipe's own.
  if [ -d "${called_from}/${!name}" ] && [ -n "${!name}" ]; then
    printf -v "${name}" '%s' "${called_from}/${!name}"
  fi
done
conf=${MAIN_ROOT}/conf/${preset}
if [ ! -d "${conf}" ]; then
  echo "run.sh: --preset ${preset}: expected one of $(ls "${MAIN_ROOT}/conf" | grep -v yaml | xargs)" >&2
  exit 2
fi
. ./path.sh
. ./cmd.sh
tag=${preset}
pretrained=
if ${from_scratch}; then
  tag=${preset}_scratch
elif [ -f "pretrained/${preset}/disc/config.yaml" ]; then
  pretrained=pretrained/${preset}
else
  echo "There is no pretrained/${preset}: training starts from random weights"
fi
device=(--device cpu --nj "${nj}")
[ "${ngpu}" -eq 0 ] || device=(--device cuda --nj 1)
python - "${metrics}" <<'EOF'
import sys
from espnet_hybridse.scoring.registry import select
try:
    select(sys.argv[1].split())
except ValueError as error:
    sys.exit(f"run.sh: --metrics: {error}")
EOF

# share FRACTION: hours of the budget.
share() { python -c "print(round(${max_hours} * $1, 4))"; }

# run_stage N TEXT: true if stage N is wanted; also keeps the time of the stage before.
stage_start=
begin() {
  local now
  now=$(date +%s)
  mkdir -p "${expdir}"
  if [ -n "${stage_start}" ]; then
    printf '%s\t%s\t%s\n' "${tag}" "${stage_name}" "$((now - stage_start))" >>"${expdir}/stage_times.tsv"
    echo "   (${stage_name}: $((now - stage_start)) s)"
  fi
  stage_start=${now}
  stage_name="stage $1"
}
wanted() {
  [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] || return 1
  begin "$1"
  echo "== Stage $1: $2"
}

# train BRANCH FRACTION [option ...]
train() {
  local branch=$1 fraction=$2
  shift 2
  local init=() tune=() budget=()
  [ -z "${max_hours}" ] || budget=(--max_hours "$(share "${fraction}")")
  if [ -n "${pretrained}" ]; then
    init=(--init "${pretrained}/${branch}")
    tune=(--optim_conf lr=0.0002)
  fi
  # shellcheck disable=SC2086
  ${train_cmd} hybridse train --branch "${branch}" --config "${conf}/train_${branch/hybrid/fusion}.yaml" \
    --train "${dumpdir}/raw/train" --valid "${dumpdir}/raw/valid" --tokens "${dumpdir}/tokens_${tag}" \
    --branches "${dumpdir}/branches_${tag}" --exp "${expdir}/${branch}_${tag}" --seed "${seed}" \
    --ngpu "${ngpu}" --num_nodes "${num_nodes}" "${train_launch[@]}" "${budget[@]}" "${init[@]}" -- "${tune[@]}" "$@"
}

if wanted 1 "data preparation"; then
  local/data.sh --nj "${nj}" ${speech_dir:+--speech_dir "${speech_dir}"} ${noise_dir:+--noise_dir "${noise_dir}"}
fi

if wanted 2 "simulation of the seven distortions"; then
  simulate=(hybridse simulate --config "${conf}/simulation.yaml" --nj "${nj}")
  "${simulate[@]}" --sources data/train --out "${dumpdir}/raw/train" --num "${num_train}" --seed "${seed}"
  "${simulate[@]}" --sources data/valid --out "${dumpdir}/raw/valid" --num "${num_valid}" \
    --seed 1 --ogg_encoders vorbis
  "${simulate[@]}" --sources data/test --out "${dumpdir}/raw/test" --num "${num_test}" \
    --seed 2 --ogg_encoders vorbis --coverage
fi

if wanted 3 "checks of the simulated sets"; then
  hybridse check "${dumpdir}"/raw/{train,valid,test} --nj "${nj}"
fi

if wanted 4 "tokens of clean speech"; then
  tokens=${dumpdir}/tokens_${tag}
  model=()
  [ -z "${token_model}" ] || model=(--model "${token_model}")
  if [ -n "${pretrained}" ]; then
    # Refuses a --token_backend or --units that is not its own.
    codebook=(--manifest "${pretrained}/tokens/manifest.json" ${token_backend:+--backend "${token_backend}"})
  else
    if [ -z "${token_backend}" ]; then
      if [ "${preset}" = mini ]; then token_backend=kmeans; else token_backend=xcodec; fi
    fi
    codebook=(--backend "${token_backend}")
    [ "${token_backend}" != kmeans ] || codebook+=(--fit_on 200)
  fi
  [ -z "${units}" ] || codebook+=(--units "${units}")
  hybridse tokenize --spk1 "${dumpdir}/raw/train/spk1.scp" --out "${tokens}/train" "${device[@]}" "${codebook[@]}" "${model[@]}"
  hybridse tokenize --spk1 "${dumpdir}/raw/valid/spk1.scp" --out "${tokens}/valid" "${device[@]}" \
    --manifest "${tokens}/train/manifest.json" "${model[@]}"
fi

if wanted 5 "training of the discriminative branch"; then
  train disc 0.5
fi

if wanted 6 "training of the generative branch"; then
  train gen 0.35
fi

if wanted 7 "outputs of both branches for the fusion (free-running tokens)"; then
  for branch in disc gen; do
    hybridse enhance "${dumpdir}/raw/train/wav.scp" "${dumpdir}/branches_${tag}/${branch}/train" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}" --max_utts "${num_fusion}"
    hybridse enhance "${dumpdir}/raw/valid/wav.scp" "${dumpdir}/branches_${tag}/${branch}/valid" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}"
  done
fi

if wanted 8 "training of the fusion network"; then
  # The configuration written with the model names the branches beside it.
  train hybrid 0.15 --separator_conf "disc=../disc_${tag}" --separator_conf "gen=../gen_${tag}" \
    ${sqa:+--sqa_checkpoint "${sqa}"}
fi

if wanted 9 "enhancement of the test set"; then
  for branch in disc gen hybrid; do
    hybridse enhance "${dumpdir}/raw/test/wav.scp" "${expdir}/${branch}_${tag}/enhanced_test" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}"
  done
fi

# The results' rows: name=folder of its scores, and what stands beside their numbers.
test=${dumpdir}/raw/test
scores=("Noisy=${expdir}/noisy/scores_test")
losses=()
for row in Dis.=disc Gen.=gen Hybrid=hybrid; do
  scores+=("${row%%=*}=${expdir}/${row#*=}_${tag}/scores_test")
  losses+=("${row%%=*}=${expdir}/${row#*=}_${tag}")
done
start="random weights"
[ -z "${pretrained}" ] || start="the weights in ${pretrained}"
trained="max_epoch of conf/${preset}"
[ -z "${max_hours}" ] || trained="${max_hours} h for all three models"
facts=("recipe=egs/mini/enh1" "preset=${preset}" "started_from=${start}" "training=${trained}"
  "train_utterances=${num_train}" "seed=${seed}" "sqa_loss=${sqa:-off: no quality network}")

if wanted 10 "scores"; then
  score() {
    # Own recordings may have no transcripts.
    local text=()
    [ ! -s "${test}/text" ] || text=(--text "${test}/text" --utt2lang "${test}/utt2lang")
    # shellcheck disable=SC2086
    hybridse score --ref "${test}/spk1.scp" --inf "$2" "${text[@]}" --metrics ${metrics} --nj "${nj}" --out "$1"
  }
  score "${expdir}/noisy/scores_test" "${test}/wav.scp"
  for branch in disc gen hybrid; do
    model=${expdir}/${branch}_${tag}
    score "${model}/scores_test" "${model}/enhanced_test/spk1.scp"
  done
  hybridse score --table "${scores[@]}" --results "${expdir}/RESULTS_${tag}.md" --fact "${facts[@]}"
  hybridse plot --out "${expdir}/losses_${tag}.png" --losses "${losses[@]}"
  hybridse plot --out "${expdir}/spectrograms_${tag}.png" --spectrograms "Noisy=${test}/wav.scp" \
    "Dis.=${expdir}/disc_${tag}/enhanced_test/spk1.scp" \
    "Gen.=${expdir}/gen_${tag}/enhanced_test/spk1.scp" \
    "Hybrid=${expdir}/hybrid_${tag}/enhanced_test/spk1.scp" "Clean=${test}/spk1.scp"
fi

if wanted 11 "report"; then
  hybridse report --out "${expdir}/report_${tag}" --scores "${scores[@]}" --losses "${losses[@]}" \
    --meta "${test}/meta.tsv" --model "${expdir}/hybrid_${tag}" --max_utts 20 --fact "${facts[@]}"
fi
begin end
