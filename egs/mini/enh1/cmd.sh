# How training is started; sourced by run.sh, and by yours.
#
# Here, or within an allocation: leave cmd_backend at local. train_cmd is a prefix, such as
#   train_cmd="srun --gres=gpu:1"
# and train_launch holds launcher options of `hybridse train`, such as
#   train_launch=(--launcher slurm)      # one process a machine of the allocation (--num_nodes)
#   train_launch=(--launcher torchrun)
#
# Through a job engine as in ESPnet: give ESPNET_ROOT, a checkout of ESPnet with its tools, and
#   cmd_backend=slurm ./run.sh --ngpu 8 --num_nodes 4
# slurm, sge and pbs submit with ESPnet's scripts and the options of conf/slurm.conf, queue.conf or
# pbs.conf beside this file, where there is one.
train_cmd=
train_launch=()
cmd_backend=${cmd_backend:-local}
case "${cmd_backend}" in
  local) ;;
  slurm | sge | pbs)
    utils=${ESPNET_ROOT:?cmd.sh: cmd_backend=${cmd_backend} needs ESPNET_ROOT, a checkout of ESPnet}/egs2/TEMPLATE/asr1/utils
    case "${cmd_backend}" in
      slurm) script=slurm.pl options=slurm.conf ;;
      sge) script=queue.pl options=queue.conf ;;
      pbs) script=pbs.pl options=pbs.conf ;;
    esac
    if [ ! -x "${utils}/${script}" ]; then
      echo "cmd.sh: ${utils}/${script} is missing; run 'make kaldi' in ${ESPNET_ROOT}/tools" >&2
      exit 2
    fi
    [ ! -f "conf/${options}" ] || script="${script} --config conf/${options}"
    train_launch=(--launcher espnet --cmd "${utils}/${script}")
    ;;
  *)
    echo "cmd.sh: cmd_backend=${cmd_backend}: expected local, slurm, sge or pbs" >&2
    exit 2
    ;;
esac
