"""A crash in a metric's own code, and a GPU that cannot be used, cost as little as they can."""

import numpy as np
import pytest
import soundfile

from espnet_hybridse.fileio.lists import write_list
from espnet_hybridse.scoring.engine import score
from espnet_hybridse.scoring.jobs import Job
from espnet_hybridse.scoring.metrics.metric import Metric, Setup
from espnet_hybridse.scoring.metrics.registry import METRICS
from espnet_hybridse.scoring.processes import run_jobs
from espnet_hybridse.scoring.rows import read_rows

CRASHES = """import os
import torch

dependencies = ["torch"]


class Net(torch.nn.Module):
    def forward(self, wave, sr):
        if wave.shape[1] == 5000:
            os.abort()
        return torch.tensor(3.0)


def utmos22_strong():
    return Net()
"""
LOST = "CUDA error: no kernel image is available for execution on the device"


@pytest.fixture
def lists(tmp_path):
    """Three files, one of them of 5000 samples."""
    table = {}
    for name, samples in (("a", 4000), ("b", 5000), ("c", 6000)):
        table[name] = tmp_path / f"{name}.wav"
        soundfile.write(table[name], 0.1 * np.random.default_rng(0).normal(size=samples), 16000)
    write_list(tmp_path / "wav.scp", table)
    return tmp_path / "wav.scp"


@pytest.mark.slow
def test_metric_that_crashes_costs_its_value_for_that_file(lists, tmp_path):
    (tmp_path / "utmos").mkdir()
    (tmp_path / "utmos/hubconf.py").write_text(CRASHES)
    given = {"models": {"UTMOS": str(tmp_path / "utmos")}, "nj": 1}
    summary = score(lists, lists, tmp_path / "s", ["UTMOS", "SI-SDR"], **given)
    assert (summary.scored, summary.quarantined) == (3, 0)
    rows = read_rows(tmp_path / "s/scores.jsonl")
    assert {uid: row["scores"]["UTMOS"] for uid, row in rows.items()} == {"a": 3, "b": None, "c": 3}
    assert all(row["scores"]["SI-SDR"] == 50 for row in rows.values())
    assert "the process that computed it ended" in rows["b"]["failed"]["UTMOS"]
    assert score(lists, lists, tmp_path / "s", ["UTMOS", "SI-SDR"], **given).skipped == 3


class OnGpu(Metric):
    """A network that works on the CPU only."""

    key = name = "OnGpu"
    category, range, source, network = "intrusive", (0.0, 1.0), "a test", True

    def __init__(self, message):
        self.message, self.devices = message, []

    def compute(self, inf, ref, fs, context):
        self.devices.append(context.setup.device)
        if context.setup.device.startswith("cuda"):
            raise RuntimeError(self.message)
        return 0.5


@pytest.mark.parametrize(
    "message, devices",
    [
        (LOST, ["cuda:1", "cpu", "cpu", "cpu"]),
        ("CUDA error: out of memory", ["cuda:1", "cpu"] * 3),
    ],
)
def test_cpu_takes_over_from_a_gpu_that_cannot_be_used(
    lists, monkeypatch, caplog, message, devices
):
    metric = OnGpu(message)
    monkeypatch.setitem(METRICS, "OnGpu", metric)
    setup = Setup(device="cuda:1")
    paths = {uid: str(lists.parent / f"{uid}.wav") for uid in "abc"}
    jobs = [Job(u, p, p, None, None, ("OnGpu", "SI-SDR"), "s", setup) for u, p in paths.items()]
    rows = [(job.uid, row["scores"]) for job, row in run_jobs(jobs, nj=0, batch=1)]
    assert metric.devices == devices
    assert [scores for _, scores in rows if "OnGpu" in scores] == [{"OnGpu": 0.5}] * 3
    assert [scores for _, scores in rows if "SI-SDR" in scores] == [{"SI-SDR": 50.0}] * 3
    assert ("cuda:1 fails: the CPU takes over from here" in caplog.text) == (message == LOST)


def test_other_errors_of_a_network_cost_one_value(lists, monkeypatch):
    monkeypatch.setitem(METRICS, "OnGpu", OnGpu("shapes do not fit"))
    path = str(lists.parent / "a.wav")
    job = Job("a", path, path, None, None, ("OnGpu",), "s", Setup(device="cuda"))
    [(_, row)] = run_jobs([job], nj=0, batch=1)
    assert row["failed"] == {"OnGpu": "RuntimeError: shapes do not fit"}
