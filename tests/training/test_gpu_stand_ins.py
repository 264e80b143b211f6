"""What is asked of a GPU and what its errors lead to, seen through stand-ins on a CPU.

No line here shows that a GPU does what it is asked for: docs/what_was_run.md says what was run on
one.
"""

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch

from espnet_hybridse import Enhancer
from espnet_hybridse.fusion.branches import FrozenBranch
from espnet_hybridse.generative import decoding
from espnet_hybridse.generative.decode_weights import StepWeights
from espnet_hybridse.generative.token_lm import TokenLM
from espnet_hybridse.model.loading import ModelLoader
from espnet_hybridse.nn.precision import autocast, gpu_has_bfloat16
from espnet_hybridse.plugin import find_class
from espnet_hybridse.runtime.gpu_faults import gpu_is_lost, memory_is_full
from espnet_hybridse.training.steps import refuse_emulated_amp

CUDA = torch.device("cuda")
FULL = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: cudaErrorMemoryAllocation",
]
LOST = ["CUDA error: unspecified launch failure", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"]


def of_a_recording():
    """The error of a graph whose recording ended because memory was full."""
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error in capture")
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("error", [*map(RuntimeError, FULL), of_a_recording()], ids=str)
def test_a_full_gpu_is_no_lost_one(error):
    assert memory_is_full(error) and not gpu_is_lost(error)


@pytest.mark.parametrize("words", LOST)
def test_a_lost_gpu_is_no_full_one(words):
    assert gpu_is_lost(RuntimeError(words)) and not memory_is_full(RuntimeError(words))
    assert not gpu_is_lost(ValueError(words)), "somebody else's words"


def on_a_full_gpu(models, monkeypatch, error, **options):
    """An enhancer on what stands for a GPU that has no room; the rows of each of its attempts."""
    enhancer = Enhancer.from_pretrained(models / "disc", segment_s=0.3, overlap_s=0.1, **options)
    network, forward, tried = enhancer.network, enhancer.network._forward, []
    network.device, network.batch = torch.device("meta"), 4
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(len(tried)))

    def full(rows, fs):
        if network.device.type == "cpu":
            return forward(rows, fs)
        tried.append(len(rows))
        raise error

    network._forward = full
    return enhancer, tried, emptied


@pytest.mark.parametrize("error", [*map(RuntimeError, FULL), of_a_recording()], ids=str)
def test_it_is_tried_with_less_and_then_said_loudly(models, monkeypatch, error):
    enhancer, tried, emptied = on_a_full_gpu(models, monkeypatch, error)
    wav = 0.1 * np.random.default_rng(0).normal(size=20000).astype(np.float32)
    with pytest.raises(MemoryError, match="does not fit into memory; take a shorter --segment"):
        enhancer(wav, 16000)
    assert tried == [4, 2, 1] and emptied == [1, 2, 3] and enhancer.device.type == "meta"


def test_the_cpu_takes_over_from_a_full_gpu_only_where_that_was_asked_for(models, monkeypatch):
    wav = 0.1 * np.random.default_rng(0).normal(size=20000).astype(np.float32)
    plain = Enhancer.from_pretrained(models / "disc", segment_s=0.3, overlap_s=0.1)
    error = RuntimeError(FULL[2])
    enhancer, tried, _ = on_a_full_gpu(models, monkeypatch, error, cpu_fallback=True)
    np.testing.assert_allclose(enhancer(wav, 16000), plain(wav, 16000), atol=1e-6)
    assert tried == [4, 2, 1] and enhancer.device.type == "cpu"


def make_lm():
    torch.manual_seed(0)
    return TokenLM(50, layers=2, dim=32, heads=2, ffn=48).eval()


def test_a_step_is_recorded_once_a_shape_and_for_its_own_thread_alone(monkeypatch):
    """The loader's thread pins memory meanwhile, which would spoil a recording of all threads."""
    modes = []

    class Stream:
        def wait_stream(self, other):
            pass

    @contextmanager
    def recording(graph, capture_error_mode="global"):
        modes.append(capture_error_mode)
        before = {name: value.clone() for name, value in live().items()}
        yield
        # A recording runs nothing.
        for name, value in live().items():
            value.copy_(before[name])

    steppers = []
    record = decoding._Stepper._record

    def live():
        one = steppers[-1]
        return {"x": one.x, "step": one.step, "tokens": one.tokens, "states": one.states}

    def recorded(self):
        steppers.append(self)
        record(self)
        self.graph.replay = partial(self.advance, None)

    monkeypatch.setattr(decoding._Stepper, "records", True)
    monkeypatch.setattr(decoding._Stepper, "_record", recorded)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: torch.no_grad())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: type("Graph", (), {})())
    monkeypatch.setattr(torch.cuda, "graph", recording)
    lm = make_lm()
    weights = StepWeights(lm)
    for frames in (6, 6, 9, 6, 9):
        prefix, plens = torch.randn(2, frames, 32), torch.tensor([frames, frames - 2])
        plain = decoding.decode(lm, prefix, plens, frames, weights=weights, graph=False)
        replayed = decoding.decode(lm, prefix, plens, frames, weights=weights, graph=True)
        assert torch.equal(plain.tokens, replayed.tokens)
    assert modes == ["thread_local"] * 2


def test_decoding_makes_the_models_gpu_the_current_one(monkeypatch):
    """Streams and graphs are of the current device, which `--device cuda:1` does not change."""
    assert isinstance(decoding.current(torch.device("cuda:3")), torch.cuda.device)
    assert decoding.current(torch.device("cuda:3")).idx == 3
    within = []

    @contextmanager
    def current(device):
        within.append(device)
        yield
        within.append("left")

    monkeypatch.setattr(decoding, "current", current)
    decoding.decode(make_lm(), torch.randn(1, 4, 32), torch.tensor([4]), 4)
    assert within == [torch.device("cpu"), "left"]


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bfloat16_is_not_taken_for_fast(monkeypatch, native):
    """torch says yes for every GPU unless it is asked without emulation."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "An Older GPU")
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert gpu_has_bfloat16() is native
    if native:
        return refuse_emulated_amp(True, CUDA)
    with autocast(CUDA, "auto"):
        assert not torch.is_autocast_enabled("cuda")
    with pytest.raises(ValueError, match="An Older GPU has none; set use_amp: false"):
        refuse_emulated_amp(True, CUDA)
    refuse_emulated_amp(False, CUDA)


def test_a_frozen_branch_moves_only_when_the_device_changes(models, monkeypatch):
    branch = FrozenBranch(ModelLoader(models / "disc", find_class))
    separator = branch.load()
    moved, move = [], type(separator).to

    def to(self, device):
        moved.append(device)
        return move(self, device)

    monkeypatch.setattr(type(separator), "to", to)
    spectrum = torch.randn(1, 12, 161, dtype=torch.complex64)
    first = branch.enhance(spectrum)
    assert torch.equal(branch.enhance(spectrum), first) and not moved
    for _ in range(2):
        assert branch.enhance(spectrum.to("meta")).is_meta
    assert moved == [torch.device("meta")]
