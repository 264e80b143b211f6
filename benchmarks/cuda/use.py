"""Inference on a GPU: token decoding, the same samples as on a CPU, less memory, all ways in."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import soundfile
import torch

from benchmarks.cuda.checks import Skip, check, on_gpu

NETWORKS = ("DistillMOS", "DNSMOS OVRL")
"""Metrics whose networks come with packages."""


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


@contextmanager
def exact():
    """Products of float32 in float32, as a CPU makes them."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = True


def noise(seconds: float, fs: int) -> np.ndarray:
    """(T,) float32, always the same."""
    samples = int(seconds * fs)
    return (0.05 * np.random.default_rng(1).standard_normal(samples)).astype(np.float32)


def snr(reference: np.ndarray, other: np.ndarray) -> float:
    """How far `other` is from `reference`, in dB; 200 where they are equal."""
    error = max(float(np.sum((reference - other) ** 2)), 1e-20 * float(np.sum(reference**2)))
    return 10 * np.log10(float(np.sum(reference**2)) / error)


@check
def enhancing(bench):
    """`Enhancer` on the GPU gives what it gives on the CPU, in exact float32.

    The tokens of random language models are near ties that rounding decides: what the generative
    branch and the hybrid give is told, not judged.
    """
    from espnet_hybridse import Enhancer

    words = []
    for name in ("disc", "gen", "hybrid"):
        here, there = (
            Enhancer.from_pretrained(bench.model(name), device=device, gate="off")
            for device in ("cpu", str(bench.device))
        )
        for fs in (8000, 22050, 48000):
            wav = noise(3, fs)
            with exact():
                one, two = here(wav, fs).ravel(), there(wav, fs).ravel()
            assert one.shape == two.shape == wav.shape
            words.append(f"{name} {fs / 1000:g}k {snr(one, two):.0f} dB")
            assert name != "disc" or snr(one, two) > 60, words
    return ", ".join(words)


@check
def separate_speech(bench):
    """Stock ESPnet's class on the GPU gives what `Enhancer` gives there."""
    from espnet2.bin.enh_inference import SeparateSpeech

    import espnet_hybridse

    espnet_hybridse.register()
    folder, words = bench.model("disc"), []
    stock = SeparateSpeech(folder / "config.yaml", folder / "1epoch.pth", device=str(bench.device))
    ours = espnet_hybridse.Enhancer.from_pretrained(
        folder, device=str(bench.device), gate="off", segment_s=10.0
    )
    for fs in (8000, 48000):
        wav = noise(2, fs)
        with exact():
            theirs = stock(torch.from_numpy(wav)[None], fs=fs)[0].ravel()
            words.append(f"{fs / 1000:g}k {snr(ours(wav, fs).ravel(), theirs):.0f} dB")
        assert float(words[-1].split()[1]) > 60, words
    return ", ".join(words)


@check
def commands(bench):
    """`hybridse enhance` of a folder, of a file with bfloat16 networks and tokens, of a stream."""
    from espnet_hybridse.cli.main import main

    source, out = bench.root / "commands", bench.root / "commands_out"
    source.mkdir()
    for number, fs in enumerate((8000, 11025, 48000)):
        soundfile.write(source / f"{number}.wav", noise(2 + number, fs), fs)
    options = ["--model", str(bench.model("hybrid")), "--device", str(bench.device)]
    options += ["--gate", "off"]
    assert main(["enhance", str(source), str(out), *options, "--batch", "4"]) == 0
    assert len(list(out.glob("*.wav"))) == 3
    half = [*options, "--dtype", "bfloat16", "--decode_dtype", "bfloat16"]
    assert main(["enhance", str(source / "2.wav"), str(out / "half.wav"), *half]) == 0
    one, two = (soundfile.read(out / name, dtype="float32")[0] for name in ("2.wav", "half.wav"))
    assert one.shape == two.shape and np.isfinite(two).all()
    wav = (source / "0.wav").read_bytes()
    command = [sys.executable, "-m", "espnet_hybridse.cli.main", "enhance", "-", "-", *options]
    heard = subprocess.run(command, input=wav, capture_output=True, check=True).stdout
    assert abs(len(heard) - len(wav)) < 200, (len(heard), len(wav))
    return f"bfloat16 {snr(one, two):.0f} dB from float32; a stream of {len(heard)} bytes"


@check
def scoring(bench):
    """Networks of `hybridse score` on the GPU give the CPU's values."""
    from espnet_hybridse.cli.main import main

    raw, found = bench.root / "dump/raw/train", []
    options = ["score", "--ref", str(raw / "spk1.scp"), "--inf", str(raw / "wav.scp")]
    for device in ("cpu", str(bench.device)):
        out = bench.root / f"scores_{device.partition(':')[0]}"
        if main([*options, f"--out={out}", f"--device={device}", "--metrics", *NETWORKS]):
            raise Skip("a package of hybridse score is missing, see above")
        rows = map(json.loads, (out / "scores.jsonl").read_text().splitlines())
        found.append({row["uid"]: [row["scores"][name] for name in NETWORKS] for row in rows})
    one, two = found
    worst = max(abs(a - b) for uid, row in one.items() for a, b in zip(row, two[uid], strict=True))
    assert one.keys() == two.keys() and worst < 0.01, worst
    return f"{', '.join(NETWORKS)}: largest difference {worst:.1e}"


@on_gpu
def less_memory(bench):
    """Batches are halved until they fit, then the CPU takes over; what comes out stays the same."""
    from espnet_hybridse import Enhancer

    folder, fs = bench.model("disc"), 48000
    given = {"gate": "off", "segment_s": 10.0, "cpu_fallback": True}
    wav = noise(72, fs)
    here = Enhancer.from_pretrained(folder, **given)
    there = {
        size: Enhancer.from_pretrained(folder, device=str(bench.device), batch=size, **given)
        for size in (1, 8)
    }
    total, peaks = torch.cuda.get_device_properties(bench.device).total_memory, {}
    with exact():
        expected = here(wav, fs).ravel()
        for size, enhancer in there.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(bench.device)
            enhancer(wav, fs)
            peaks[size] = torch.cuda.max_memory_reserved(bench.device)
        words = [f"peak {peaks[1] / 1e9:.2f} GB with batch 1, {peaks[8] / 1e9:.2f} with 8"]
        for limit, place in ((0.6 * peaks[8], "cuda"), (0.5 * peaks[1], "cpu")):
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(limit / total, bench.device)
            try:
                found = there[8](wav, fs).ravel()
            finally:
                torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
            network = there[8].network
            words.append(f"{limit / 1e9:.2f} GB: batch {network.batch} on {network.device.type}")
            assert network.device.type == place, words
            assert place == "cpu" or network.batch < 8, words
            assert snr(expected, found) > 60, words
    return ", ".join(words)


@on_gpu
def out_of_memory(bench):
    """What a full GPU raises is recognised as such."""
    free = torch.cuda.mem_get_info(bench.device)[0]
    try:
        torch.empty(2 * free, dtype=torch.uint8, device=bench.device)
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    raise AssertionError("an allocation of twice the free memory succeeded")
