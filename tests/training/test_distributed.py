"""Training over several processes: the same gradients, whoever starts them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.training_runs import make_run, train_here, weights

from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.training.launch import launched
from espnet_hybridse.training.run import train

# Steps so small that rounding does not lead the two apart: gradients are compared, not learning.
SGD = {"optim": "sgd", "optim_conf": {"lr": 1e-4}, "scheduler": None, "batch_size": 4}
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


@pytest.fixture(scope="module")
def alone(rendered, tmp_path_factory):
    """Six steps of plain gradient descent in one process."""
    run = make_run(rendered, tmp_path_factory.mktemp("alone"), num_iters_per_epoch=6, **SGD)
    train_here(run)
    return run.exp


@pytest.mark.parametrize("launcher", ["torchrun", "slurm"])
def test_two_processes_have_the_gradients_of_one(rendered, alone, tmp_path, monkeypatch, launcher):
    run = make_run(rendered, tmp_path / "exp", num_iters_per_epoch=6, **SGD)
    if launcher == "torchrun":
        run = replace(run, launcher=launcher, nproc=2)
    else:
        script(tmp_path / "srun", SRUN)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        run = replace(run, launcher=launcher, num_nodes=2)
    assert "1 epochs" in train(run)
    together, one = (weights(exp / "1epoch.pth") for exp in (run.exp, alone))
    for name, value in one.items():
        torch.testing.assert_close(together[name], value, atol=3e-7, rtol=1e-5, msg=name)
    mine, theirs = rows(run.exp), rows(alone)
    assert len(mine) == len(theirs) == 6
    for row, other in zip(mine, theirs, strict=True):
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
        assert row["gradients"] == pytest.approx(other["gradients"], rel=1e-3, abs=1e-6)
    assert {path.name for path in run.exp.glob("steps*.json")} == {"steps.json", "steps1.json"}


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
