"""Trainings on a GPU: all three branches, both precisions, resume, waits, losses."""

import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from helpers.training_runs import train_here

from benchmarks.cuda.checks import Skip, check, finite, on_gpu

THEIRS = {"torchaudio", "transformers"}
OTHERS = {
    "bsrnn": {"num_spk": 1, "num_channels": 8, "num_layers": 1, "target_fs": 48000},
    "tfgridnetv3": {"n_srcs": 1, "n_layers": 1, "lstm_hidden_units": 8, "emb_dim": 8},
}


def both_precisions(bench, branch: str, *options: str) -> str:
    """The losses of a branch's training in float32 and in bfloat16."""
    one = finite(bench.train(bench.run(branch, branch), *options))
    two = finite(bench.train(bench.run(branch, f"{branch}_amp", use_amp=True), *options))
    return f"float32 {one}; amp {two}"


@check
def train_disc(bench):
    """Dis., float32 and bfloat16: an epoch, its validation and its checkpoints."""
    return both_precisions(bench, "disc")


@check
def train_gen(bench):
    """Gen., float32 and bfloat16, half of its batches on its own history."""
    return both_precisions(bench, "gen", "--separator_conf", "free_running_prob=0.5")


@check
def train_hybrid(bench):
    """The fusion, its branches run on the fly, float32 and bfloat16."""
    return both_precisions(bench, "hybrid")


@check
def train_all_three(bench):
    """The fusion with both branches trained on."""
    run = replace(bench.run("hybrid", "hybrid_all"), unfreeze=("disc", "gen"))
    return finite(bench.train(run))


@check
def other_separators(bench):
    """The challenge's baseline and ESPnet's own TF-GridNet as Dis., at a tiny size."""
    words = []
    for name, conf in OTHERS.items():
        changes = {"separator": name, "separator_conf": conf, "unused_parameters": True}
        words.append(f"{name} {finite(bench.train(bench.run('disc', name, **changes)))}")
    return ", ".join(words)


@contextmanager
def determined():
    """Kernels that add in one order; yields the names of those that have none, as they are met."""
    unordered: set[str] = set()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield unordered
            words = (str(w.message) for w in caught)
            unordered.update(w.split()[0] for w in words if "deterministic implementation" in w)
    finally:
        torch.use_deterministic_algorithms(False)


@check
def resume(bench):
    """Killed after a checkpoint in the epoch, a training ends with the weights of a whole one.

    Or as near to them as two whole ones are to each other, where a kernel adds in any order: AdamW
    divides a small gradient by itself.
    """
    from espnet_hybridse.model.espnet_model import HybridEnhancementModel

    changes = {"save_steps": 2, "save_minutes": 0}
    whole, again, halved = (
        bench.run("disc", name, **changes) for name in ("whole", "again", "halved")
    )
    forward, calls = HybridEnhancementModel.forward, []

    def stopping(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    with determined() as unordered:
        bench.train(whole)
        bench.train(again)
        HybridEnhancementModel.forward = stopping
        try:
            bench.train(halved)
        except KeyboardInterrupt:
            pass
        finally:
            HybridEnhancementModel.forward = forward
        bench.train(halved)
    one, two, three = (
        torch.load(run.exp / "1epoch.pth", weights_only=True) for run in (whole, again, halved)
    )
    between, worst = (
        max(float((one[k].float() - other[k].float()).abs().max()) for k in one)
        for other in (two, three)
    )
    text = f"largest difference of a weight {worst:.1e}, of two whole trainings {between:.1e}"
    text += f"; no order of its own: {', '.join(sorted(unordered)) or 'no kernel'}"
    assert worst <= 3 * between, text
    return text


@on_gpu
def steps_without_waiting(bench):
    """Synchronisations a training step, ours + those of borrowed packages, as PyTorch counts them.

    Ours are two at most: istft has one, the row of gradient norms another. WavLM makes its
    position bias, and torchaudio its kernels, with one each.
    """
    from espnet_hybridse.training import steps

    counted = {}
    whole = steps.Stepper._step

    def counting(self, batch, ends):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                return whole(self, batch, ends)
        finally:
            torch.cuda.set_sync_debug_mode("default")
            found = [Path(w.filename) for w in caught if "synchroniz" in str(w.message)]
            places = [f"{Path(w.filename).name}:{w.lineno}" for w in caught]
            ours = [path for path in found if not THEIRS & set(path.parts)]
            counted.setdefault(branch, []).append((len(ours), len(found) - len(ours), places))

    steps.Stepper._step = counting
    try:
        for branch in ("disc", "gen"):
            bench.train(bench.run(branch, f"{branch}_sync", num_workers=0))
    finally:
        steps.Stepper._step = whole
    lines = []
    for name, seen in counted.items():
        number, theirs, places = seen[-1]
        lines.append(f"{name} {number} + {theirs} ({', '.join(sorted(set(places)))})")
        assert number <= 2, lines
    return "; ".join(lines)


@on_gpu
def lstm_types(bench):
    """No LSTM gets half precision, whatever autocast is asked for."""
    from espnet_hybridse.nn.precision import run_lstm

    lstm = torch.nn.LSTM(16, 16, bidirectional=True).to(bench.device)
    x = torch.randn(20, 4, 16, device=bench.device)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype=dtype):
            plain, ours = lstm(x)[0].dtype, run_lstm(lstm, x.to(dtype)).dtype
        assert ours is torch.float32, ours
    return f"ours float32; without it autocast gives {plain} when asked for bfloat16"


@check
def quality_network(bench):
    """DNSMOS in PyTorch, as a loss, gives scores and gradients of the CPU."""
    from espnet_hybridse.fileio.assets import AssetMissing
    from espnet_hybridse.sqa.loss import SQALoss

    found = []
    wav = 0.05 * torch.from_numpy(np.random.default_rng(2).standard_normal((2, 48000))).float()
    for device in ("cpu", bench.device):
        try:
            loss = SQALoss("dnsmos", guarded=False)
        except AssetMissing as error:
            raise Skip(str(error)) from error
        inf = wav.to(device, copy=True).requires_grad_()
        loss.set_batch(16000, torch.full((2,), 48000))
        value = loss(wav.to(device), inf)
        value.sum().backward()
        found.append((value.detach().cpu(), inf.grad.cpu()))
    (one, slope), (two, other) = found
    worst = float((one - two).abs().max())
    angle = float(torch.nn.functional.cosine_similarity(slope.ravel(), other.ravel(), 0))
    assert worst < 0.01 and angle > 0.98, (worst, angle)
    return f"losses differ by {worst:.1e}, cosine of the gradients {angle:.4f}"


@check
def forecast(bench):
    """`--profile` measures steps and validation and says what the whole takes."""
    from espnet_hybridse.training.profiling import ProfileDone

    run = bench.run("disc", "profile", num_iters_per_epoch=20)
    try:
        train_here(run, "--profile", "4")
    except ProfileDone:
        pass
    return (run.exp / "profile.txt").read_text().splitlines()[0]
