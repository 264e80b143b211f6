"""A trained model on a device: rows of samples in, rows of samples out, with less if it must."""

import logging
import resource
import threading
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch

from espnet_hybridse.fileio.audio import fit_length
from espnet_hybridse.model.loading import LoadedModel
from espnet_hybridse.nn.spectrum import WINDOW_MS, n_fft

LM_FS = 16000
DTYPES = ("float32", "bfloat16", "auto")
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "Unable to allocate")
DEVICE_LOST = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "no CUDA-capable device")


class Network:
    """Runs a model on rows of one rate; one thread at a time, so that many may call it.

    Where memory runs out the batch is halved, then a GPU is left for the CPU; a GPU that fails is
    left at once, the weights read anew. Both are logged and last for the rest of the run.

    Args:
        loaded: the model.
        device: torch device.
        batch: rows at once; None takes what suits the model.
        dtype: of the networks: "float32", "bfloat16", "auto" (bfloat16 where the device is fast at
            it); None keeps what is configured. Spectra and samples stay in float32.
        decode_dtype: see :class:`~espnet_hybridse.inference.enhancer.Enhancer`.

    Raises:
        ValueError: batch < 1, or a type that is not known or not decoded in.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: str = "cpu",
        batch: Optional[int] = None,
        dtype: Optional[str] = None,
        decode_dtype: Optional[str] = None,
    ):
        if batch is not None and batch < 1:
            raise ValueError(f"batch={batch} must be at least 1")
        if dtype not in (None, *DTYPES):
            raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")
        self.dtype, self.decode_dtype = dtype, decode_dtype
        self.lock = threading.RLock()
        self._place(loaded, device)
        self.batch = batch or getattr(self.model.separator, "pieces_at_once", 1)
        self.by_rate = batch is None

    def _place(self, loaded: LoadedModel, device: str) -> None:
        self.loaded, self.device = loaded, torch.device(device)
        self.model = loaded.model.to(self.device).eval()
        separators = [self.model.separator]
        branches = [*getattr(self.model.separator, "branches", {}).values()]
        branches.append(getattr(self.model.separator, "third", None))
        # Read now: what is wrong with a branch is said before any audio is.
        separators += [branch.load() for branch in branches if branch]
        if self.dtype is not None:
            amp_dtype = None if self.dtype == "float32" else self.dtype
            for separator in separators:
                if hasattr(separator, "amp_dtype"):
                    separator.amp_dtype = amp_dtype
        decode_dtype = self.decode_dtype
        if decode_dtype is None and self.dtype in ("float32", "bfloat16"):
            decode_dtype = self.dtype if hasattr(self.model.separator, "decode_in") else None
        if decode_dtype is not None:
            if not hasattr(self.model.separator, "decode_in"):
                raise ValueError(
                    f"decode_dtype={decode_dtype!r}: this model ({loaded.branch.name}) decodes no "
                    "tokens"
                )
            self.model.separator.decode_in(decode_dtype)

    def __call__(self, rows: Sequence[np.ndarray], fs: int) -> List[np.ndarray]:
        """Enhance rows (T_i,) float32 at one of the seven rates; silent ones stay silent.

        What a row gives does not depend on the rows beside it.

        Raises:
            MemoryError: not even one row fits into memory.
        """
        done: List[Optional[np.ndarray]] = [None if row.any() else row.copy() for row in rows]
        # Neighbours of like length waste the least padding.
        order = sorted(
            (index for index, row in enumerate(done) if row is None), key=lambda i: rows[i].size
        )
        while order:
            part = order[: self._at_once(fs)]
            enhanced = self._with_less([rows[index] for index in part], fs)
            for index, row in zip(part, enhanced, strict=True):
                done[index] = row
            order = order[len(part) :]
        return done

    def _at_once(self, fs: int) -> int:
        """Rows to run together, where it was left to us: on a CPU fewer of a high rate.

        The language model's share, which batches are for, does not grow with the rate; the memory
        of the other networks does.
        """
        if self.by_rate and self.device.type == "cpu":
            return max(1, self.batch * LM_FS // fs) if fs > LM_FS else self.batch
        return self.batch

    def _with_less(self, rows: List[np.ndarray], fs: int) -> List[np.ndarray]:
        try:
            with self.lock, torch.no_grad():
                return list(self._forward(rows, fs))
        except Exception as error:
            lost, full = device_lost(error), out_of_memory(error)
            if not (lost or full):
                raise
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        # Out of the handler: its traceback holds the tensors that filled the memory.
        seconds = max(row.size for row in rows) / fs
        on_gpu = self.device.type != "cpu"
        if full and len(rows) > 1:
            self.batch = max(1, len(rows) // 2)
            logging.warning("out of memory: --batch %d from now on (%s)", self.batch, message)
            halves = rows[: self.batch], rows[self.batch :]
            return [row for half in halves for row in self._with_less(half, fs)]
        if not on_gpu:
            raise MemoryError(
                f"one piece of {seconds:.1f} s at {fs} Hz does not fit into memory; take a shorter "
                f"--segment ({message})"
            )
        logging.warning("%s fails: the CPU takes over from here (%s)", self.device, message)
        with self.lock:
            if self.device.type != "cpu":
                self._place(self.loaded.loader(), "cpu")
        return self._with_less(rows, fs)

    def _forward(self, rows: List[np.ndarray], fs: int) -> Iterator[np.ndarray]:
        sizes = [padded_size(row.size, fs) for row in rows]
        if len(set(sizes)) == 1:
            padded, lengths = self.padded(rows, fs)
            enhanced, _, _, _ = self.model.forward_enhance(padded, lengths, {}, fs=fs)
            waves = enhanced[0].cpu().numpy()
            yield from (wave[: row.size] for wave, row in zip(waves, rows, strict=True))
            return
        # The transform mirrors the samples at an end, which padding would put zeros behind: each
        # row is transformed alone and only spectra are padded.
        spectra = []
        for row in rows:
            padded, lengths = self.padded([row], fs)
            spectra.append(self.model.encoder(padded, lengths, fs=fs)[0][0])
        frames = torch.tensor([len(spectrum) for spectrum in spectra], device=self.device)
        batch = torch.nn.utils.rnn.pad_sequence(spectra, batch_first=True)
        enhanced = self.model.separator(batch, frames, {})[0][0]
        for row, size, spectrum, count in zip(rows, sizes, enhanced, frames.tolist(), strict=True):
            length = torch.tensor([size], device=self.device)
            wave, _ = self.model.decoder(spectrum[None, :count], length, fs=fs)
            yield wave[0, : row.size].cpu().numpy()

    def padded(self, rows: Sequence[np.ndarray], fs: int) -> Tuple[torch.Tensor, torch.Tensor]:
        """Rows of one padded size as (B, T), and T for each, (B,), on the device."""
        size = padded_size(rows[0].size, fs)
        padded = torch.from_numpy(np.stack([fit_length(row, size) for row in rows]))
        return padded.to(self.device), torch.full((len(rows),), size, device=self.device)


def padded_size(samples: int, fs: int) -> int:
    """Samples to process for `samples` of audio, such that no frame is cut."""
    # Whole 20 ms frames, and enough of them for the longest window.
    frames = max(-(-samples * 50 // fs), 4)
    # At 22.05 kHz the 20/10 ms hop divides no frame; without one more, the last samples could
    # lie under the edge of a single window, which magnifies whatever error they have.
    hop = n_fft(fs, WINDOW_MS["disc"]) // 2
    frames += frames * fs // 50 % hop > hop // 2
    return frames * fs // 50


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy means that memory ran out, on whatever device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
    )


def device_lost(error: BaseException) -> bool:
    """Whether an error means that the GPU cannot be used any longer."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in DEVICE_LOST)


def peak_gb() -> float:
    """Largest resident memory of this process or of an ended worker so far, in GB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024 / 1e9


def peak_gpu_gb() -> float:
    """Largest GPU memory of this process so far, in GB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0
