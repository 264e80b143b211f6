# The options and stages that all recipes share; sourced by a recipe's run.sh from its own folder.
#
# run.sh sets before: MAIN_ROOT, called_from, recipe (its name in the results), preset, ngpu,
# num_train, num_valid, num_test, num_fusion and metrics (its defaults), datadir, test_set (that of stages 9 to
# 11: test, or valid where there is no other), own_help (help text of options of its own), own_paths
# (names of those that are files or folders), and
#   check_own_options    refuses what its own options may not be
#   prepare_data         stage 1: makes ${datadir}/{train,valid,test}
#   has_simulated SET    whether stage 2 need not simulate this set, for
#   take_simulated SET   puts it into ${dumpdir}/raw/SET

stage=1
stop_stage=11
nj=$(nproc 2>/dev/null || echo 2)
num_nodes=1
seed=0
conf=
from_scratch=false
max_hours=
token_backend=
token_model=
units=
sqa=
dumpdir=dump
expdir=exp

help_message="Usage: ./run.sh [--name value ...]

  --stage N --stop_stage M  (${stage}, ${stop_stage})
       1 data  2 simulation  3 checks  4 tokens  5 train Dis.  6 train Gen.
       7 branch outputs for the fusion  8 train Hybrid  9 enhance the test set  10 score
       11 report
  --nj N             processes of the data and scoring stages (${nj})
  --ngpu N           GPUs of each machine: of training, and of tokens and outputs (${ngpu})
  --num_nodes N      machines of training (${num_nodes})
  --seed N           of simulation and training (${seed})
  --preset NAME      conf/NAME of the repository: small, mini, fast or paper (${preset})
  --conf DIR         configurations of your own in its place: a copy of conf/NAME, changed
  --from_scratch B   true: random weights; false: start from pretrained/ (${from_scratch})
  --max_hours H      training and its validation, all three models together; else 0.12 for small
                     and mini, and what conf/NAME says (max_epoch) for fast and paper
  --num_train N --num_valid N --num_test N
                     simulated utterances (${num_train}, ${num_valid}, ${num_test})
  --num_fusion N     training utterances whose branch outputs stage 7 makes (${num_fusion})
  --token_backend B  kmeans or xcodec; by default kmeans for small and mini, xcodec else
  --token_model M    id or folder of the codec or of the k-means encoder
  --units N          k-means tokens when from scratch (256)
  --sqa NAME         quality network of the fusion's SQA loss: dnsmos, a file or folder, a hub's id, or
                     none (dnsmos for mini and small)
  --metrics NAMES    columns of the results table (${metrics})
${own_help}
  --dumpdir DIR --expdir DIR  (${dumpdir}, ${expdir})

Every stage can be stopped and run again; what is done is skipped."
. "${MAIN_ROOT}/local/parse_options.sh"

refuse() {
  echo "run.sh: --$1 ${!1}: expected $2" >&2
  exit 2
}
for name in stage stop_stage nj ngpu num_nodes seed num_train num_valid num_test num_fusion; do
  [[ "${!name}" =~ ^[0-9]+$ ]] || refuse "${name}" "a whole number"
done
[[ "${units}" =~ ^[0-9]*$ ]] || refuse units "a whole number"
case ${preset} in mini | small) max_hours=${max_hours:-0.12} ;; esac
[[ -z "${max_hours}" || "${max_hours}" =~ ^[0-9]*\.?[0-9]+$ && "${max_hours}" =~ [1-9] ]] ||
  refuse max_hours "hours above 0, such as 0.2"
[[ "${from_scratch}" =~ ^(true|false)$ ]] || refuse from_scratch "true or false"
[[ "${token_backend}" =~ ^(kmeans|xcodec|)$ ]] || refuse token_backend "kmeans or xcodec"
for name in ${own_paths} conf token_model sqa; do
  # Folders and files are meant from where the command was typed, not from the recipe's own.
  if [ -e "${called_from}/${!name}" ] && [ -n "${!name}" ]; then
    printf -v "${name}" '%s' "${called_from}/${!name}"
  fi
done
check_own_options
if [ -n "${conf}" ]; then
  for name in simulation train_disc train_gen train_fusion; do
    [ -f "${conf}/${name}.yaml" ] || refuse conf "a folder with ${name}.yaml, such as a copy of conf/${preset}"
  done
fi
conf=${conf:-${MAIN_ROOT}/conf/${preset}}
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
case ${preset} in mini | small) sqa=${sqa:-dnsmos} ;; esac
device=(--device cpu --nj "${nj}")
[ "${ngpu}" -eq 0 ] || device=(--device cuda --nj 1)
python - "${metrics}" <<'EOF'
import sys
from espnet_hybridse.scoring.metrics.registry import select
try:
    select(sys.argv[1].split())
except ValueError as error:
    sys.exit(f"run.sh: --metrics: {error}")
EOF

# check_quality_network CONFIG: what the fusion's loss needs is there, or days of training before it
# would be for another result than was asked for.
check_quality_network() {
  python - "$1" "${sqa}" <<'EOF'
import sys
from espnet_hybridse.fileio.assets import AssetCorrupt, AssetMissing
from espnet_hybridse.fileio.yaml_config import ConfigError, read_yaml
from espnet_hybridse.sqa.checkpoint import check_quality_network
try:
    print(check_quality_network(read_yaml(sys.argv[1]), sys.argv[2]))
except (AssetCorrupt, AssetMissing, ConfigError, FileNotFoundError) as error:
    sys.exit(f"run.sh: stage 8 would fail, and --sqa NAME names another network: {error}")
EOF
}
if [ "${stage}" -le 8 ] && [ "${stop_stage}" -ge 8 ]; then
  check_quality_network "${conf}/train_fusion.yaml"
fi

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

# over_gpus COMMAND [option ...]: on several GPUs an array job on each, then a run that joins them
# and does what they left.
over_gpus() {
  if [ "${ngpu}" -gt 1 ]; then
    local gpu jobs=()
    for ((gpu = 0; gpu < ngpu; gpu++)); do
      "$@" --device "cuda:${gpu}" --split "$((gpu + 1))/${ngpu}" &
      jobs+=($!)
    done
    for gpu in "${jobs[@]}"; do
      wait "${gpu}" || echo "A job of $1 $2 failed; the run that follows does what it left" >&2
    done
  fi
  "$@"
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
  prepare_data
fi

if wanted 2 "simulation of the seven distortions"; then
  simulate() {
    local set=$1
    shift
    if has_simulated "${set}"; then
      take_simulated "${set}"
      return
    fi
    hybridse simulate --config "${conf}/simulation.yaml" --nj "${nj}" --sources "${datadir}/${set}" \
      --out "${dumpdir}/raw/${set}" "$@"
  }
  simulate train --num "${num_train}" --seed "${seed}"
  simulate valid --num "${num_valid}" --seed 1 --ogg_encoders vorbis
  [ "${test_set}" = valid ] || simulate test --num "${num_test}" --seed 2 --ogg_encoders vorbis --coverage
fi

if wanted 3 "checks of the simulated sets"; then
  sets=("${dumpdir}/raw/train" "${dumpdir}/raw/valid")
  [ "${test_set}" = valid ] || sets+=("${dumpdir}/raw/test")
  hybridse check "${sets[@]}" --nj "${nj}"
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
      case ${preset} in mini | small) token_backend=kmeans ;; *) token_backend=xcodec ;; esac
    fi
    codebook=(--backend "${token_backend}")
    [ "${token_backend}" != kmeans ] || codebook+=(--fit_on 200)
  fi
  [ -z "${units}" ] || codebook+=(--units "${units}")
  # Jobs share a codebook: that of new k-means units is learned by one run.
  several=over_gpus
  [[ "${codebook[*]}" != *--fit_on* ]] || several=
  ${several} hybridse tokenize --spk1 "${dumpdir}/raw/train/spk1.scp" --out "${tokens}/train" "${device[@]}" "${codebook[@]}" "${model[@]}"
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
    # The fusion learns from what the networks give, whatever a recording needs.
    over_gpus hybridse enhance "${dumpdir}/raw/train/wav.scp" "${dumpdir}/branches_${tag}/${branch}/train" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}" --gate off --max_utts "${num_fusion}"
    hybridse enhance "${dumpdir}/raw/valid/wav.scp" "${dumpdir}/branches_${tag}/${branch}/valid" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}" --gate off
  done
fi

if wanted 8 "training of the fusion network"; then
  # The configuration written with the model names the branches beside it.
  train hybrid 0.15 --separator_conf "disc=../disc_${tag}" --separator_conf "gen=../gen_${tag}" \
    ${sqa:+--sqa_checkpoint "${sqa}"}
fi

if wanted 9 "enhancement of the test set"; then
  for branch in disc gen hybrid; do
    over_gpus hybridse enhance "${dumpdir}/raw/${test_set}/wav.scp" "${expdir}/${branch}_${tag}/enhanced_${test_set}" \
      --model "${expdir}/${branch}_${tag}" "${device[@]}"
  done
fi

# The results' rows: name=folder of its scores, and what stands beside their numbers.
test=${dumpdir}/raw/${test_set}
scores=("Noisy=${expdir}/noisy/scores_${test_set}")
losses=()
for row in Dis.=disc Gen.=gen Hybrid=hybrid; do
  scores+=("${row%%=*}=${expdir}/${row#*=}_${tag}/scores_${test_set}")
  losses+=("${row%%=*}=${expdir}/${row#*=}_${tag}")
done
start="random weights"
[ -z "${pretrained}" ] || start="the weights in ${pretrained}"
trained="max_epoch of conf/${preset}"
[ -z "${max_hours}" ] || trained="${max_hours} h for all three models"
facts=("recipe=${recipe}" "preset=${preset}" "started_from=${start}" "training=${trained}"
  "train_utterances=${num_train}" "seed=${seed}" "sqa_loss=${sqa:-that of conf/${preset}}")

if wanted 10 "scores"; then
  score() {
    # Own recordings may have no transcripts.
    local text=()
    [ ! -s "${test}/text" ] || text=(--text "${test}/text" --utt2lang "${test}/utt2lang")
    # shellcheck disable=SC2086
    hybridse score --ref "${test}/spk1.scp" --inf "$2" "${text[@]}" --metrics ${metrics} --nj "${nj}" --out "$1"
  }
  score "${expdir}/noisy/scores_${test_set}" "${test}/wav.scp"
  for branch in disc gen hybrid; do
    model=${expdir}/${branch}_${tag}
    score "${model}/scores_${test_set}" "${model}/enhanced_${test_set}/spk1.scp"
  done
  hybridse score --table "${scores[@]}" --results "${expdir}/RESULTS_${tag}.md" --fact "${facts[@]}"
fi

if wanted 11 "report"; then
  hybridse report --out "${expdir}/report_${tag}" --scores "${scores[@]}" --losses "${losses[@]}" \
    --meta "${test}/meta.tsv" --model "${expdir}/hybrid_${tag}" --max_utts 20 --fact "${facts[@]}"
fi
begin end
