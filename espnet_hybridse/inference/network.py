"""A trained model on a device: rows of samples in, rows of samples out, with less if it must."""

import logging
import resource
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from espnet_hybridse.fileio.audio import fit_length
from espnet_hybridse.inference.options import Options
from espnet_hybridse.model.loading import LoadedModel
from espnet_hybridse.nn.sfi_stft import whole_frames
from espnet_hybridse.nn.spectrum import WINDOW_MS, n_fft
from espnet_hybridse.runtime.gpu_faults import gpu_is_lost, memory_is_full

BATCH = 8


class Network:
    """Runs a model on rows of one rate; one thread at a time, so that many may call it.

    Where memory runs out the batch is halved, down to one row; if that does not fit into a GPU the
    CPU takes over where that was allowed. A GPU that fails is left at once, the weights read anew.
    All is logged and lasts for the rest of the run.

    Args:
        loaded: the model.
        device: torch device.
        options: `batch`, `dtype`, `decode_dtype` and `cpu_fallback` of :class:`Options`.

    Raises:
        ValueError: a type of token decoding that is not known, or a model that decodes none.
    """

    def __init__(self, loaded: LoadedModel, device: str, options: Options):
        self.options = options
        self.lock = threading.RLock()
        self._place(loaded, device)

    def _place(self, loaded: LoadedModel, device: str) -> None:
        """Bring the model to a device, in the types that are asked for."""
        self.loaded, self.device = loaded, torch.device(device)
        self.model = loaded.model.to(self.device).eval()
        separators = [self.model.separator]
        branches = [*getattr(self.model.separator, "branches", {}).values()]
        branches.append(getattr(self.model.separator, "third", None))
        # Read now: what is wrong with a branch is said before any audio is.
        separators += [branch.load() for branch in branches if branch]
        self.decodes = any(getattr(part, "lm", None) is not None for part in separators)
        self.batch = self.options.batch or self._suitable_batch()
        dtype, decode_dtype = self.options.dtype, self.options.decode_dtype
        if dtype is not None:
            for separator in separators:
                if hasattr(separator, "amp_dtype"):
                    separator.amp_dtype = None if dtype == "float32" else dtype
        if decode_dtype is not None and not hasattr(self.model.separator, "decode_in"):
            raise ValueError(
                f"decode_dtype={decode_dtype!r}: this model ({loaded.branch}) decodes no tokens"
            )
        if decode_dtype is None and dtype in ("float32", "bfloat16"):
            decode_dtype = dtype
        if decode_dtype is not None and hasattr(self.model.separator, "decode_in"):
            self.model.separator.decode_in(decode_dtype)

    def _suitable_batch(self) -> int:
        """Return how many rows to run at once.

        The language model reads its weights once for all of them; a GPU is not filled by one. On a
        CPU the other networks take them row by row.
        """
        return BATCH if self.decodes or self.device.type != "cpu" else 1

    def __call__(self, rows: Sequence[np.ndarray], fs: int) -> list[np.ndarray]:
        """Enhance rows (T_i,) float32 at one of the seven rates; silent ones stay silent.

        What a row gives does not depend on the rows beside it.

        Raises:
            MemoryError: not even one row fits into memory.
        """
        done = {index: row.copy() for index, row in enumerate(rows) if not row.any()}
        # Neighbours of like length waste the least padding.
        order = sorted(set(range(len(rows))) - done.keys(), key=lambda i: rows[i].size)
        while order:
            part = order[: self.batch]
            enhanced = self._with_less([rows[index] for index in part], fs)
            for index, row in zip(part, enhanced, strict=True):
                done[index] = row
            order = order[len(part) :]
        return [done[index] for index in range(len(rows))]

    def _with_less(self, rows: list[np.ndarray], fs: int) -> list[np.ndarray]:
        try:
            with self.lock, torch.no_grad():
                return list(self._forward(rows, fs))
        except Exception as error:
            full = memory_is_full(error)
            if not (full or gpu_is_lost(error)):
                raise
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        # Out of the handler: its traceback holds the tensors that filled the memory.
        seconds = max(row.size for row in rows) / fs
        on_gpu = self.device.type != "cpu"
        if full and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if full and len(rows) > 1:
            self.batch = max(1, len(rows) // 2)
            logging.warning("out of memory: --batch %d from now on (%s)", self.batch, message)
            halves = rows[: self.batch], rows[self.batch :]
            return [row for half in halves for row in self._with_less(half, fs)]
        if not on_gpu or (full and not self.options.cpu_fallback):
            device = ", or --device auto, which leaves a full GPU for the CPU" if on_gpu else ""
            raise MemoryError(
                f"one piece of {seconds:.1f} s at {fs} Hz does not fit into memory; take a shorter "
                f"--segment{device} ({message})"
            )
        loader = self.loaded.loader
        if loader is None:
            raise RuntimeError(
                f"{self.device} fails, and the model is no file to read anew ({message})"
            )
        logging.warning("%s fails: the CPU takes over from here (%s)", self.device, message)
        with self.lock:
            if self.device.type != "cpu":
                self._place(loader(), "cpu")
        return self._with_less(rows, fs)

    def _forward(self, rows: list[np.ndarray], fs: int) -> Iterator[np.ndarray]:
        if len({row.size for row in rows}) == 1:
            padded, lengths = self.padded(rows, fs)
            enhanced, *_ = self.model.forward_enhance(padded, lengths, {}, fs=fs)
            waves = enhanced[0].cpu().numpy()
            yield from (wave[: row.size] for wave, row in zip(waves, rows, strict=True))
            return
        if not self.ignores_padding:
            for row in rows:
                yield from self._forward([row], fs)
            return
        # The transform mirrors the samples at an end, which padding would put zeros behind: each
        # row is transformed alone and only spectra are padded.
        spectra = []
        for row in rows:
            spectra.append(self.model.encoder(*self.padded([row], fs), fs=fs)[0][0])
        frames = torch.tensor([len(spectrum) for spectrum in spectra])
        batch = torch.nn.utils.rnn.pad_sequence(spectra, batch_first=True)
        enhanced = self.model.separator(batch, frames, {})[0][0]
        for row, spectrum, count in zip(rows, enhanced, frames.tolist(), strict=True):
            wave, _ = self.model.decoder(spectrum[None, :count], torch.tensor([row.size]), fs=fs)
            yield wave[0].cpu().numpy()

    @torch.no_grad()
    def parts(self, rows: Sequence[np.ndarray], fs: int) -> dict[str, np.ndarray]:
        """What a hybrid's output is made of, of rows (T,) float32 of one size and rate.

        Returns:
            {"disc", "gen", "fused": (B, T), "mask": (B, frames of 10 ms, bins of 50 Hz)}; a branch
            that the model lacks is left out.
        """
        with self.lock:
            padded, lengths = self.padded(rows, fs)
            spectrum, _ = self.model.encoder(padded, lengths, fs=fs)
            parts = self.model.separator.parts(spectrum)
            mask = parts.pop("mask").cpu().numpy()
            waves = {name: self.model.decoder(x, lengths, fs=fs)[0] for name, x in parts.items()}
        size = rows[0].size
        return {
            **{name: wave[:, :size].cpu().numpy() for name, wave in waves.items()},
            "mask": mask[:, : -(-size * 100 // fs) + 1],
        }

    @property
    def ignores_padding(self) -> bool:
        """Tell whether spectra of several lengths may be enhanced together."""
        alone = getattr(self.model, "normalise", False) or self.model.own_fs is not None
        return not alone and hasattr(self.model.separator, "lengths_on_cpu")

    def padded(self, rows: Sequence[np.ndarray], fs: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of one size as (B, T) on the device, and T for each, (B,)."""
        size = rows[0].size
        if not hasattr(self.model.encoder, "whole"):
            # Other encoders cut what is no whole frame, or need a window's length at least.
            size = whole_frames(size, fs, n_fft(fs, WINDOW_MS["disc"]) // 2)
        padded = torch.from_numpy(np.stack([fit_length(row, size) for row in rows]))
        return padded.to(self.device), torch.full((len(rows),), size)


def peak_gb() -> float:
    """Largest resident memory of this process or of an ended worker so far, in GB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024 / 1e9


def peak_gpu_gb() -> float:
    """Largest GPU memory of this process so far, in GB; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_initialized() else 0.0
