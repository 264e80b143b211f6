"""What public packages say about the clips of the tests.

None of this project's code runs here. Every package is called as its own documentation, or the
challenge's script of that metric, calls it. Signal processing in double precision has one value
everywhere: `tests/data/golden_metrics.json` keeps it, so that the tests need none of these
packages. A network in single precision has another value on every kind of processor (DistillMOS:
5e-4 apart between AVX2 and AMX): its package runs beside ours, and nothing is kept. To make the
file again:

    pip install pesq==0.0.4 pystoi==0.4.1 librosa torchmetrics pysptk fastdtw
    pip install --no-deps pysepm-evo==0.1.1
    python tests/helpers/golden_metrics.py
"""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import soxr

DATA = Path(__file__).parents[1] / "data"
CASES = {"goforward-8k": 8000, "numbers": 16000, "something-44k": 44100, "goforward-48k": 48000}
"""Case -> rate in Hz; the clip's name is the part before the dash."""
SNR_DB = 8.0


def pair(case):
    """(enhanced, clean, fs): a clip at the case's rate, and with noise of a frozen generator."""
    clean, fs = soundfile.read(DATA / "speech" / f"{case.partition('-')[0]}.flac", dtype="float32")
    target = CASES[case]
    if target != fs:
        clean = soxr.resample(clean, fs, target)
    noise = np.random.RandomState(0).standard_normal(clean.size)
    noise *= np.sqrt(np.mean(clean**2.0) / np.mean(noise**2)) * 10 ** (-SNR_DB / 20)
    return (clean + noise).astype(np.float32), clean, target


def lsd(inf, ref, fs):
    """The formula of the 2024 and 2025 challenges with librosa's STFT."""
    import librosa

    ref, inf = ref.astype(np.float64), inf.astype(np.float64)
    inf = inf * (ref @ inf) / (inf @ inf + 1e-8)
    sizes = {"n_fft": int(0.032 * fs), "hop_length": int(0.016 * fs)}
    ref, inf = (np.abs(librosa.stft(wav, **sizes)) for wav in (ref, inf))
    squares = np.log(ref**2 / (inf + 1e-8) ** 2 + 1e-8) ** 2
    return float(np.sqrt(squares.mean(axis=0)).mean())


def mcd(inf, ref, fs):
    """Mel-cepstra of pysptk on a fastdtw path, settings of the challenge's mcd_utils.py."""
    import pysptk
    from fastdtw import fastdtw
    from scipy.spatial.distance import euclidean

    order, warp = {8000: (13, 0.41), 16000: (23, 0.42), 44100: (39, 0.53), 48000: (39, 0.55)}[fs]
    cepstra = []
    for wav in (inf, ref):
        window, rows = pysptk.sptk.hamming(1024), []
        for start in range(0, len(wav) - 1024 + 1, 256):
            frame = wav[start : start + 1024].astype(np.float64) * window
            rows.append(pysptk.mcep(frame, order, warp, eps=1e-6, etype=1))
        cepstra.append(np.stack(rows))
    path = np.array(fastdtw(*cepstra, dist=euclidean)[1]).T
    squares = np.sum((cepstra[0][path[0]] - cepstra[1][path[1]]) ** 2, axis=1)
    return float(np.mean(10 / np.log(10) * np.sqrt(2 * squares)))


def network_value(column, wav, fs):
    """What the public package of a network's column gives for (T,) at `fs` Hz, on this machine."""
    wav = wav if fs == 16000 else soxr.resample(wav, fs, 16000)
    if column == "DistillMOS":
        import distillmos
        import torch

        model = distillmos.ConvTransformerSQAModel().eval()
        with torch.no_grad():
            return model(torch.tensor(wav)[None]).item()
    from speechmos import dnsmos, plcmos

    peak = np.abs(wav).max()
    quiet = wav / peak if peak > 1 else wav  # speechmos refuses samples beyond 1
    if column == "PLCMOS":
        np.random.seed(0)
        return float(plcmos.run(quiet, 16000)["plcmos"])
    return float(dnsmos.run(quiet, 16000)[f"{column.removeprefix('DNSMOS ').lower()}_mos"])


def values(case):
    """{column: value} of one case, signal processing only."""
    import scipy.signal
    import torch
    from pesq import pesq

    # pysepm-evo was written for an older SciPy, and imports a package that only SRMR needs.
    scipy.signal.kaiser = scipy.signal.windows.kaiser
    sys.modules.setdefault("srmrpy", ModuleType("srmrpy"))
    from pysepm_evo.qualityMeasures import SNRseg, llr, wss
    from pystoi import stoi
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio as si_sdr

    inf, ref, fs = pair(case)
    at16 = [wav if fs == 16000 else soxr.resample(wav, fs, 16000) for wav in (inf, ref)]
    found = {"LSD": lsd(inf, ref, fs), "MCD": mcd(inf, ref, fs)}
    mode, rate, (mine, clean) = ("nb", fs, (inf, ref)) if fs == 8000 else ("wb", 16000, at16)
    found["PESQ"] = float(pesq(rate, clean, mine, mode))
    np.random.seed(0)
    found["ESTOI"] = float(stoi(ref, inf, fs_sig=fs, extended=True))
    found["SI-SDR"] = float(si_sdr(torch.tensor(inf), torch.tensor(ref), zero_mean=True))
    mine, clean = mine.astype(np.float64), clean.astype(np.float64)
    ratio = llr(clean, mine, rate, used_for_composite=True)
    slope, snr, quality = wss(clean, mine, rate), SNRseg(clean, mine, rate), found["PESQ"]
    found["CSIG"] = 3.093 - 1.029 * ratio + 0.603 * quality - 0.009 * slope
    found["CBAK"] = 1.634 + 0.478 * quality - 0.007 * slope + 0.063 * snr
    found["COVL"] = 1.594 + 0.805 * quality - 0.512 * ratio - 0.007 * slope
    found.update({c: float(np.clip(found[c], 1, 5)) for c in ("CSIG", "CBAK", "COVL")})
    return found


if __name__ == "__main__":
    golden = {case: {k: round(v, 6) for k, v in values(case).items()} for case in CASES}
    (DATA / "golden_metrics.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden, indent=1))
