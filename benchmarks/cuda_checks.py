"""What only a GPU can show, in a minute and a half: one line a check, code 1 if one fails.

    python benchmarks/cuda_checks.py [--only NAME ...] [--device cuda:0] [--work DIR]

Needs the package, soundfile and transformers; no data and no network. Networks are tiny and
random, the speech is noise. A check that cannot run here says why and counts as skipped.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from helpers.training_runs import make_noise_data, noise_run, train_here  # noqa: E402

CHECKS = {}
RATES = (8000, 16000, 48000)
THEIRS = {"torchaudio", "transformers"}


class Skip(Exception):
    """A check that cannot run here."""


def check(function):
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


def on_gpu(function):
    """A check that means nothing elsewhere."""

    def checked(bench):
        if bench.device.type != "cuda":
            raise Skip("needs a GPU")
        return function(bench)

    checked.__name__ = function.__name__
    return check(checked)


class Bench:
    """A folder with a data set, tokens and experiments that all checks share."""

    def __init__(self, root: Path, device: torch.device):
        self.root, self.device = root, device
        make_noise_data(root, num=24, rates=RATES, seconds=2.0)

    def run(self, branch: str, folder: str, **changes):
        """A training run of one branch at a tiny size."""
        lengths = {"num_iters_per_epoch": 6, "num_workers": 2, "log_interval": 2}
        changes = {**lengths, "preprocessor_conf": {"chunk_s": 1.0}, "ema_share": 0.05, **changes}
        run = noise_run(self.root, branch, self.root / folder, **changes)
        ngpu = int(self.device.type == "cuda")
        return replace(run, ngpu=ngpu, on_the_fly=branch == "hybrid")

    def train(self, run, *options: str) -> dict[int, dict[str, float]]:
        """Train in this process; the rows of progress.jsonl by batch."""
        extra = []
        if run.branch == "hybrid":
            for name in ("disc", "gen"):
                extra += ["--separator_conf", f"{name}={self.root / name}"]
        train_here(run, *extra, *options)
        rows = (run.exp / "progress.jsonl").read_text().splitlines()
        return {row["batch"]: row for row in map(json.loads, rows)}


def finite(rows) -> str:
    """The losses of a training, all of which must be finite."""
    losses = [row["loss"] for row in rows.values()]
    assert losses and np.isfinite(losses).all(), losses
    return f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"


@check
def train_disc(bench):
    """Dis., float32 and bfloat16: an epoch, its validation and its checkpoints."""
    one = finite(bench.train(bench.run("disc", "disc")))
    two = finite(bench.train(bench.run("disc", "disc_amp", use_amp=True)))
    return f"float32 {one}; amp {two}"


@check
def train_gen(bench):
    """Gen., float32 and bfloat16, half of its batches on its own history."""
    half = ("--separator_conf", "free_running_prob=0.5")
    one = finite(bench.train(bench.run("gen", "gen"), *half))
    two = finite(bench.train(bench.run("gen", "gen_amp", use_amp=True), *half))
    return f"float32 {one}; amp {two}"


@check
def train_hybrid(bench):
    """The fusion, its branches run on the fly, float32 and bfloat16."""
    if not (bench.root / "gen/1epoch.pth").is_file():
        raise Skip("train_disc and train_gen must run before")
    one = finite(bench.train(bench.run("hybrid", "hybrid")))
    two = finite(bench.train(bench.run("hybrid", "hybrid_amp", use_amp=True)))
    return f"float32 {one}; amp {two}"


@check
def resume(bench):
    """Killed after a checkpoint in the epoch, a training ends with the weights of a whole one.

    Or as near to them as two whole ones are to each other: kernels that add in any order differ
    in the last digit, and AdamW divides a small gradient by itself.
    """
    from espnet_hybridse.model.espnet_model import HybridEnhancementModel

    changes = {"save_steps": 2, "save_minutes": 0}
    whole, again, halved = (
        bench.run("disc", name, **changes) for name in ("whole", "again", "halved")
    )
    bench.train(whole)
    bench.train(again)
    forward, calls = HybridEnhancementModel.forward, []

    def stopping(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

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
    assert worst <= max(1e-4, 3 * between), text
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


@check
def decoding(bench):
    """The recorded step gives the tokens of the plain one and of the CPU, batch after batch."""
    from espnet_hybridse.generative.decode_weights import StepWeights
    from espnet_hybridse.generative.decoding import decode
    from espnet_hybridse.generative.token_lm import TokenLM

    torch.manual_seed(0)
    lm = TokenLM(64, layers=3, dim=64, heads=4, ffn=128).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    gpu = TokenLM(64, layers=3, dim=64, heads=4, ffn=128).eval().to(bench.device)
    gpu.load_state_dict(lm.state_dict())
    weights = StepWeights(gpu)
    agreed = []
    for lengths in ([50, 50, 50], [50, 20, 7], [30, 50, 50]):
        prefix, plens = torch.randn(3, 50, 64), torch.tensor(lengths)
        here = decode(lm, prefix, plens, 50).tokens
        there = prefix.to(bench.device)
        plain = decode(gpu, there, plens, 50, weights=weights, graph=False).tokens
        recorded = decode(gpu, there, plens, 50, weights=weights, graph=True).tokens
        assert torch.equal(plain, recorded)
        agreed.append(float((recorded.cpu() == here).float().mean()))
    assert len(weights.recorded) == 1 and min(agreed) > 0.9, agreed
    start = time.perf_counter()
    for _ in range(3):
        decode(gpu, there, plens, 50, weights=weights)
    if bench.device.type == "cuda":
        torch.cuda.synchronize()
    return (
        f"equal to the plain step; {100 * min(agreed):.0f} % of the CPU's tokens; "
        f"{1e3 * (time.perf_counter() - start) / 150:.2f} ms a step"
    )


@on_gpu
def recording_beside_pinning(bench):
    """A step is recorded while another thread pins memory, as the loader's does."""
    import threading

    from espnet_hybridse.generative.decode_weights import StepWeights
    from espnet_hybridse.generative.decoding import decode
    from espnet_hybridse.generative.token_lm import TokenLM

    lm = TokenLM(64, layers=3, dim=64, heads=4, ffn=128).eval().to(bench.device)
    stop, count = threading.Event(), [0]

    def pin():
        while not stop.is_set():
            torch.empty(1000 + count[0] % 7 * 100_000).pin_memory()
            count[0] += 1

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        for batch in range(1, 9):
            prefix = torch.randn(batch, 20, 64, device=bench.device)
            decode(lm, prefix, torch.full((batch,), 20), 20, weights=StepWeights(lm))
        torch.cuda.synchronize()
    finally:
        stop.set()
        thread.join()
    return f"8 recordings, {count[0]} blocks pinned meanwhile"


@check
def enhancing(bench):
    """`Enhancer` on the GPU gives what it gives on the CPU, in exact float32.

    The tokens of random language models are near ties that rounding decides: what the generative
    branch and the hybrid give is told, not judged.
    """
    from espnet_hybridse import Enhancer

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32, words = False, []
    try:
        for name in ("disc", "gen", "hybrid"):
            if not (bench.root / name / "1epoch.pth").is_file():
                raise Skip("the trainings must run before")
            for fs in (8000, 22050, 48000):
                wav = (0.05 * np.random.default_rng(1).standard_normal(3 * fs)).astype(np.float32)
                here, there = (
                    Enhancer.from_pretrained(bench.root / name, device=device)(wav, fs).ravel()
                    for device in ("cpu", str(bench.device))
                )
                assert here.shape == there.shape == wav.shape
                error = max(float(np.sum((here - there) ** 2)), 1e-20)
                snr = 10 * np.log10(float(np.sum(here**2)) / error)
                words.append(f"{name} {fs / 1000:g}k {snr:.0f} dB")
                assert name != "disc" or snr > 60, words
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = True
    return ", ".join(words)


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


@on_gpu
def out_of_memory(bench):
    """What a full GPU raises is recognised as such."""
    free = torch.cuda.mem_get_info(bench.device)[0]
    try:
        torch.empty(2 * free, dtype=torch.uint8, device=bench.device)
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    raise AssertionError("an allocation of twice the free memory succeeded")


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


def main() -> int:
    """Run the checks; 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--work", type=Path, help="folder to leave everything in")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            print("no GPU here: nothing was checked (--device cpu tries the script itself)")
            return 1
        torch.cuda.set_device(device)
        print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    work = args.work or Path(tempfile.mkdtemp(prefix="cuda_checks_"))
    bench = Bench(work, device)
    failed = 0
    for name in args.only:
        start = time.perf_counter()
        try:
            verdict, text = "ok  ", CHECKS[name](bench)
        except Skip as reason:
            verdict, text = "skip", str(reason)
        except BaseException as error:  # noqa: BLE001  (the next checks still tell something)
            verdict, text = "FAIL", f"{type(error).__name__}: {error}"
            failed += 1
            traceback.print_exc()
        print(f"{verdict} {name:26s} {time.perf_counter() - start:5.1f} s  {text}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
