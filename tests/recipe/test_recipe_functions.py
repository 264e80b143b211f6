"""Functions of local/recipe.sh, called with a `hybridse` that only says what it was told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "local/recipe.sh"
PUBLISHED = "vvwangvv/universa-ext_wavlm-base_5metric"


def function(name):
    """The text of a function of the recipe."""
    body = RECIPE.read_text().split(f"{name}() {{", 1)[1].split("\n}\n", 1)[0]
    return f"{name}() {{{body}\n}}\n"


def over_gpus(ngpu, status=0):
    """Lines that `over_gpus hybridse enhance LIST OUT --device cuda` says; and its exit code."""
    code = f"""
{function("over_gpus")}
hybridse() {{ echo "$*"; case "$*" in *--split*) return {status} ;; esac; }}
ngpu={ngpu}
over_gpus hybridse enhance LIST OUT --device cuda
"""
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("ngpu", [0, 1])
def test_one_gpu_or_none_runs_once(ngpu):
    assert over_gpus(ngpu) == (0, ["enhance LIST OUT --device cuda"], "")


@pytest.mark.parametrize("status", [0, 1])
def test_several_gpus_share_a_list_and_one_run_joins_them(status):
    code, lines, told = over_gpus(3, status)
    assert code == 0 and lines[-1] == "enhance LIST OUT --device cuda"
    assert sorted(lines[:-1]) == [
        f"enhance LIST OUT --device cuda --device cuda:{gpu} --split {gpu + 1}/3"
        for gpu in range(3)
    ]
    assert told.count("does what it left") == 3 * status


def quality_network(tmp_path, preset, sqa="", **environment):
    """What the recipe says of the fusion's quality network where no hub can be reached."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    code = f'sqa="{sqa}"\n{function("check_quality_network")}'
    code += f'check_quality_network "{ROOT}/conf/{preset}/train_fusion.yaml"'
    environment = {"HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-euc", code],
        env={**os.environ, **environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("how", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_the_paper_preset_says_at_its_start_that_its_quality_network_is_missing(tmp_path, how):
    begun = time.monotonic()
    done = quality_network(tmp_path, "paper", **how)
    assert done.returncode == 1 and time.monotonic() - begun < 20, "it does not try for long"
    assert "Traceback" not in done.stderr
    [line] = done.stderr.strip().splitlines()
    for words in (f"'{PUBLISHED}' is neither cached nor reachable", f"hf download {PUBLISHED}"):
        assert words in line
    assert "--sqa NAME" in line and "neither is then the paper's equation (4)" in line


def test_a_quality_network_that_is_cached_or_left_out_lets_the_recipe_begin(tmp_path):
    offline = {"HF_HUB_OFFLINE": "1"}
    done = quality_network(tmp_path, "paper", "none", **offline)
    assert done.returncode == 0 and "it is not the paper's equation (4)" in done.stdout
    cache = tmp_path / "hub/hub" / f"models--{PUBLISHED.replace('/', '--')}"
    (cache / "snapshots/1234").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("1234")
    (cache / "snapshots/1234/model.pt").touch()
    done = quality_network(tmp_path, "paper", **offline)
    assert done.returncode == 0 and "snapshots/1234/model.pt" in done.stdout
    done = quality_network(tmp_path, "paper", "nowhere.pt", **offline)
    assert done.returncode == 1 and "'nowhere.pt': no such file" in done.stderr


def test_it_is_looked_for_before_any_stage():
    text = RECIPE.read_text()
    assert text.index('check_quality_network "${conf}') < text.index("if wanted 1 ")
