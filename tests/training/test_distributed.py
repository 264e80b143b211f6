"""Training over several processes: the same gradients, whoever starts them."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.training_runs import (
    assert_equal,
    make_noise_data,
    make_run,
    noise_run,
    train_here,
    weights,
)
from helpers.two_processes import fail_alone, train_together

from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.training.follow import first_error
from espnet_hybridse.training.launch import launched
from espnet_hybridse.training.start import train

# Steps so small that rounding does not lead the two apart: gradients are compared, not learning.
STEPS = {"optim": "sgd", "optim_conf": {"lr": 1e-4}, "scheduler": None, "batch_size": 4}
STEPS |= {"save_steps": 2, "save_minutes": 0}
SRUN = """#!/bin/sh
# Two machines of Slurm on this one: a process each, with the variables that Slurm sets.
while [ "${1#--}" != "$1" ]; do
  case "$1" in *=*) shift ;; *) shift 2 ;; esac
done
export SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=2 SLURM_STEP_NODELIST=localhost SLURM_LOCALID=0
SLURM_PROCID=0 SLURM_NODEID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_NODEID=1 "$@" & second=$!
wait $first && wait $second
"""
RUN_PL = """#!/bin/sh
# As Kaldi's: options, the log, the command.
while [ "${1#--}" != "$1" ]; do shift 2; done
log=$1; shift; exec "$@" >"$log" 2>&1
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def rows(exp):
    return [json.loads(line) for line in (exp / "progress.jsonl").read_text().splitlines()]


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("localhost", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def in_two_processes(function, *args, preload=("espnet_hybridse.training.task",)):
    """Run `function(rank, *args)` in two processes; their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    processes = [context.Process(target=function, args=(rank, *args)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


BRANCHES = ("disc", "gen", "hybrid")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each branch trained alone, in two processes, and in two that were stopped and went on."""
    root = tmp_path_factory.mktemp("together")
    make_noise_data(root)
    jobs = []
    for branch in BRANCHES:
        alone = noise_run(root, branch, root / f"{branch}_alone", **STEPS)
        train_here(alone)
        both = {**STEPS, "batch_size": 2}
        whole, halved = (noise_run(root, branch, root / f"{branch}_{n}", **both) for n in (2, 3))
        jobs += [(whole, None), (halved, 3), (halved, None)]
    assert in_two_processes(train_together, jobs, free_ports(len(jobs))) == [0, 0]
    return root


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_two_processes_have_the_gradients_of_one(trained, branch):
    mine, theirs = rows(trained / f"{branch}_2"), rows(trained / f"{branch}_alone")
    assert len(mine) == len(theirs) == 4
    for row, other in zip(mine, theirs, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
        assert row["gradients"] == pytest.approx(other["gradients"], rel=1e-3, abs=1e-6)
    together, one = (weights(trained / f"{branch}_{n}/1epoch.pth") for n in ("2", "alone"))
    for name, value in one.items():
        torch.testing.assert_close(together[name], value, atol=3e-7, rtol=1e-5, msg=name)
    files = {path.name for path in (trained / f"{branch}_2").glob("steps*.json")}
    assert files == {"steps.json", "steps1.json"}


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_two_processes_validate_as_one(trained, branch):
    one, both = (
        weights(trained / f"{branch}_{n}/checkpoint.pth")["reporter"]["stats"][1]["valid"]
        for n in ("alone", "2")
    )
    assert one.keys() == both.keys()
    for name in one.keys() - {"time", "total_count"}:
        assert both[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name
    if branch == "gen":
        assert {"token_accuracy", "free_running_accuracy", "nll"} <= one.keys()


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_two_processes_go_on_where_they_were_stopped(trained, branch):
    whole, halved = (weights(trained / f"{branch}_{n}/1epoch.pth") for n in (2, 3))
    assert_equal(whole, halved)
    assert [row["batch"] for row in rows(trained / f"{branch}_3")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_at_once(tmp_path):
    begun = time.monotonic()
    codes = in_two_processes(fail_alone, free_ports(1)[0], 0.2, tmp_path / "log")
    assert codes == [1, 1] and time.monotonic() - begun < 100
    words = "rank 0 ends with rank 1: OSError: No space left on device"
    assert words in (tmp_path / "log").read_text()


def test_the_first_error_of_a_log_is_the_one_told():
    log = """
[rank1]: Traceback (most recent call last):
[rank0]: Traceback (most recent call last):
[rank1]:   File "a.py", line 1, in <module>
[rank0]:   File "b.py", line 7, in <module>
[rank0]: RuntimeError: Connection closed by peer
[rank1]: ValueError: too few tokens
E1126 torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""
    assert first_error(log.splitlines()) == "[rank1]: ValueError: too few tokens"
    alone = ["Traceback (most recent call last):", '  File "a.py"', "", "KeyError: 3", "x"]
    assert first_error(alone) == "KeyError: 3"
    assert first_error(["all is well"]) is None


@pytest.mark.slow
def test_slurm_s_processes_train_together(tmp_path, monkeypatch):
    make_noise_data(tmp_path)
    run = noise_run(tmp_path, "disc", tmp_path / "exp", batch_size=2)
    script(tmp_path / "srun", SRUN)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "1 epochs" in train(replace(run, launcher="slurm", num_nodes=2))
    assert (run.exp / "steps1.json").is_file() and (run.exp / "1epoch.pth").is_file()


@pytest.mark.slow
def test_a_job_goes_through_the_script_of_cmd_sh(rendered, tmp_path):
    run = make_run(rendered, tmp_path / "exp", num_iters_per_epoch=2)
    cmd = script(tmp_path / "run.pl", RUN_PL)
    assert "weights" in train(replace(run, launcher="espnet", cmd=f"{cmd} --mem 4G"))
    assert (run.exp / "1epoch.pth").is_file()
    assert "1epoch results" in (run.exp / "job.log").read_text()


def test_commands_of_the_launchers():
    plain = [sys.executable, "-m", "espnet_hybridse.bin.enh_train"]
    line = " ".join(launched(plain, "mpi", Path("exp"), ngpu=8, num_nodes=4))
    assert line.startswith("mpirun -np 4") and "--dist_launcher mpi" in line
    assert "--ngpu 8 --multiprocessing_distributed true" in line and "gloo" not in line
    line = " ".join(launched(plain, "torchrun", Path("exp"), 8, 4, rdzv="host:29400"))
    assert "--nnodes 4 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint host:29400" in line
    assert "--ngpu 1 --multiprocessing_distributed false" in line
    line = " ".join(launched(plain, "local", Path("exp"), ngpu=2))
    assert line.endswith("--ngpu 2 --multiprocessing_distributed true")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"launcher": "pbs"}, "--launcher pbs: expected one of local, torchrun"),
        ({"launcher": "local", "num_nodes": 2}, "--num_nodes 2 needs a launcher"),
        ({"launcher": "slurm", "nproc": 2}, "--nproc 2 is for --launcher torchrun"),
        ({"launcher": "torchrun", "num_nodes": 2}, "HOST:PORT is needed by"),
        ({"launcher": "espnet"}, "a script such as .*slurm.pl is needed by"),
        ({"launcher": "local", "ngpu": -1}, "expected at least 1, 1 and 0"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, words):
    with pytest.raises(ListError, match=words):
        launched(["python"], exp=Path("exp"), **options)


def sourced(tmp_path, **environment):
    """What cmd.sh sets, as lines."""
    recipe = Path(__file__).parents[2] / "egs/mini/enh1"
    code = f'. {recipe}/cmd.sh; printf "%s\\n" "${{train_launch[@]}}"'
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


def test_cmd_sh_names_espnet_s_scripts(tmp_path):
    assert sourced(tmp_path).stdout.strip() == ""
    utils = tmp_path / "espnet/egs2/TEMPLATE/asr1/utils"
    utils.mkdir(parents=True)
    given = {"cmd_backend": "slurm", "ESPNET_ROOT": str(tmp_path / "espnet")}
    assert "slurm.pl is missing; run 'make kaldi'" in sourced(tmp_path, **given).stderr
    script(utils / "slurm.pl", "#!/bin/sh\n")
    lines = sourced(tmp_path, **given).stdout.splitlines()
    assert lines == ["--launcher", "espnet", "--cmd", f"{utils}/slurm.pl"]
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/slurm.conf").touch()
    assert sourced(tmp_path, **given).stdout.endswith("slurm.pl --config conf/slurm.conf\n")
    assert "needs ESPNET_ROOT" in sourced(tmp_path, cmd_backend="sge").stderr
    assert "expected local, slurm, sge or pbs" in sourced(tmp_path, cmd_backend="k8s").stderr


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [False, True])
def test_torchrun_starts_two_processes_and_an_error_is_the_rank_s_own(tmp_path, breaks):
    raw = make_noise_data(tmp_path)
    run = noise_run(tmp_path, "disc", tmp_path / "exp", batch_size=2)
    run = replace(run, launcher="torchrun", nproc=2)
    if not breaks:
        assert "1 epochs" in train(run)
        assert (run.exp / "steps1.json").is_file() and (run.exp / "1epoch.pth").is_file()
        return
    for path in raw.glob("wav_*.wav"):
        path.write_bytes(b"no audio")
    with pytest.raises(RuntimeError, match="failed") as told:
        train(run)
    cause = str(told.value).splitlines()[1]
    assert "wav_utt0" in cause and "ChildFailedError" not in cause
