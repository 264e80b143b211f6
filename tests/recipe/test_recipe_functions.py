"""Functions of local/recipe.sh, called with a `hybridse` that only says what it was told."""

import subprocess
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "local/recipe.sh"


def over_gpus(ngpu, status=0):
    """Lines that `over_gpus hybridse enhance LIST OUT --device cuda` says; and its exit code."""
    function = RECIPE.read_text().split("over_gpus() {", 1)[1].split("\n}\n", 1)[0]
    code = f"""
over_gpus() {{{function}
}}
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
