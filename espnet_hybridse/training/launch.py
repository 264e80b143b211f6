"""How a training's processes are started: here, by torchrun, Slurm, MPI, or ESPnet's launcher."""

import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_hybridse.fileio.lists import ListError

LAUNCHERS = ("local", "torchrun", "slurm", "mpi", "espnet")
JOB_LOG = "job.log"
"""What a job of `--launcher espnet` prints; added to train.log when it has ended."""
INIT_FILE = ".dist_init"
"""Where processes meet: on the disk that they share, in the experiment's folder."""


def launched(
    command: Sequence[str],
    launcher: str,
    exp: Path,
    ngpu: int = 0,
    num_nodes: int = 1,
    nproc: int = 1,
    rdzv: str | None = None,
    cmd: str | None = None,
) -> list[str]:
    """The command that runs a training's `command` in as many processes as are asked for.

    Every process is ESPnet's own: its DistributedOption reads what the launcher tells it.

    Args:
        command: `python -m espnet_hybridse.bin.enh_train …`.
        launcher: "local" starts one process a GPU of this machine; "torchrun" the same, over
            several machines if started on each; "slurm" and "mpi" are called once, within an
            allocation, and start one process a machine; "espnet" hands the job to `cmd`.
        exp: the experiment's folder, on a disk that all machines share.
        ngpu: GPUs of each machine.
        num_nodes: machines.
        nproc: processes of each machine without a GPU, for torchrun.
        rdzv: HOST:PORT at which torchrun's machines meet.
        cmd: script of Kaldi's kind (run.pl, slurm.pl, queue.pl, pbs.pl) with its options.

    Raises:
        ListError: options that do not go together; the message names those that do.
    """
    check(launcher, ngpu, num_nodes, nproc, rdzv, cmd)
    gloo = [] if ngpu else ["--dist_backend", "gloo"]
    if launcher == "torchrun":
        head = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(num_nodes)]
        head += ["--nproc_per_node", str(ngpu or nproc)]
        if rdzv is None:
            head.append("--standalone")
        else:
            head += ["--rdzv_backend", "c10d", "--rdzv_endpoint", rdzv, "--rdzv_id", exp.name]
        # torchrun takes the module itself.
        each = ["--ngpu", str(min(ngpu, 1)), "--multiprocessing_distributed", "false"]
        return [*head, *command[1:], *each, *gloo]
    if launcher in ("slurm", "mpi"):
        head = ["mpirun", "-np", str(num_nodes)]
        if launcher == "slurm":
            head = ["srun", "--export=ALL", "--nodes", str(num_nodes), "--ntasks", str(num_nodes)]
            head += ["--ntasks-per-node", "1"]
        each = ["--ngpu", str(ngpu), "--multiprocessing_distributed", "true"]
        each += ["--dist_launcher", launcher]
        each += ["--dist_init_method", f"file://{(exp / INIT_FILE).resolve()}"]
        return [*head, *command, *each, *gloo]
    if launcher == "espnet":
        head = [sys.executable, "-m", "espnet2.bin.launch", "--cmd", cmd]
        head += ["--log", str(exp / JOB_LOG), "--ngpu", str(ngpu), "--num_nodes", str(num_nodes)]
        head += ["--init_file_prefix", f"{exp.resolve()}/{INIT_FILE}_", "--"]
        return [*head, *command]
    each = ["--ngpu", str(ngpu)]
    if ngpu > 1:
        each += ["--multiprocessing_distributed", "true"]
    return [*command, *each]


def check(
    launcher: str, ngpu: int, num_nodes: int, nproc: int, rdzv: str | None, cmd: str | None
) -> None:
    """Refuse options that a launcher would silently ignore; arguments as :func:`launched`."""
    if launcher not in LAUNCHERS:
        raise ListError(f"--launcher {launcher}: expected one of {', '.join(LAUNCHERS)}")
    if num_nodes < 1 or nproc < 1 or ngpu < 0:
        raise ListError(
            f"--num_nodes {num_nodes} --nproc {nproc} --ngpu {ngpu}: expected at least 1, 1 and 0"
        )
    if launcher == "local" and num_nodes > 1:
        raise ListError(
            f"--num_nodes {num_nodes} needs a launcher that starts the other machines' processes: "
            "--launcher slurm or mpi within an allocation, torchrun on each, espnet with --cmd"
        )
    if nproc > 1 and (launcher != "torchrun" or ngpu):
        raise ListError(
            f"--nproc {nproc} is for --launcher torchrun without GPUs, not for --launcher "
            f"{launcher} --ngpu {ngpu}"
        )
    if (rdzv is not None) != (launcher == "torchrun" and num_nodes > 1):
        raise ListError(
            f"--rdzv {rdzv}: HOST:PORT is needed by, and only by, --launcher torchrun with "
            f"--num_nodes above 1 (here {launcher}, {num_nodes})"
        )
    if (cmd is not None) != (launcher == "espnet"):
        raise ListError(
            f"--cmd {cmd}: a script such as $ESPNET_ROOT/egs2/TEMPLATE/asr1/utils/slurm.pl is "
            f"needed by, and only by, --launcher espnet (here {launcher})"
        )
