# How training is started: empty for this machine; a job engine's prefix on a cluster, such as
#   train_cmd="srun --gres=gpu:1"
train_cmd=
