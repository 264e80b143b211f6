"""Checkpoints within an epoch, from which training goes on as if it had never stopped."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from espnet2.train.reporter import Average, SubReporter, WeightedAverage

from espnet_hybridse.data.iterator import EpochBatches
from espnet_hybridse.training.checkpoint import read_checkpoint

NAME = "checkpoint_step.pth"


class StepCheckpoint:
    """Saves the whole state of an epoch from time to time and takes it up again.

    The random generators are seeded anew before each batch, from its place in the training: a run
    that goes on draws what one that never stopped draws, on every rank and device, wherever the
    checkpoint was, and no generator's state has to be kept.

    Args:
        path: of the checkpoint.
        parts: objects with `state_dict` and `load_state_dict`, by name; the model among them.
        epoch: the one that runs.
        every: batches between two checkpoints, a multiple of accum_grad; 0 saves none by number.
        minutes: between two checkpoints; 0 saves none by time.
        accum_grad: batches a step; saved is between two steps.
        seed: of the training.
        writes: whether this process is the one that saves.
        before: called before the state is taken, to fetch what is still on the device.
    """

    def __init__(
        self,
        path: Path,
        parts: Mapping[str, Any],
        epoch: int,
        every: int = 0,
        seed: int = 0,
        writes: bool = True,
        minutes: float = 0.0,
        accum_grad: int = 1,
        before: Callable[[], None] = lambda: None,
    ):
        self.path, self.parts, self.epoch = path, parts, epoch
        self.every, self.minutes, self.accum_grad = every, minutes, accum_grad
        self.seed, self.writes, self.before = seed, writes, before
        self.resumed_at = 0

    def find(self, batches: EpochBatches) -> dict[str, Any] | None:
        """The state saved in this epoch; None where there is none that fits its batches.

        The process that saves judges for all: the others have other parts of the same batches.
        """
        if not self.path.is_file():
            return None
        try:
            state = read_checkpoint(self.path)
        except Exception as error:  # a broken file raises what its first bad byte leads to
            logging.warning(f"{self.path} cannot be read ({error}); the epoch begins again")
            return None
        if state["epoch"] != self.epoch:
            return None
        if self.writes and state["batches"] != batches.digest():
            logging.warning(
                f"{self.path} was made with other lists, batch_size, num_iters_per_epoch or number "
                "of processes; the epoch begins again"
            )
            return None
        return state

    def take_up(self, state: dict[str, Any], batches: EpochBatches) -> None:
        """Load every part and go to the batch that comes next.

        Raises:
            ValueError: the state lacks a part: it was saved with other options.
        """
        missing = sorted(set(self.parts) - set(state["parts"]))
        if missing:
            raise ValueError(
                f"{self.path} has no {', '.join(missing)}; delete it to begin the epoch again"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        batches.position = self.resumed_at = state["position"]
        logging.info(f"epoch {self.epoch} goes on at batch {self.resumed_at + 1} ({self.path})")

    def watch(self, loader: Any) -> Iterator:
        """Yield the loader's batches, saving between them. Must be the innermost generator.

        Args:
            loader: DataLoader over an :class:`EpochBatches`.
        """
        sampler: EpochBatches = loader.batch_sampler
        position, last = sampler.position, len(sampler.batches)
        saved = time.monotonic()
        for batch in loader:
            # After the loader took its own draws for this batch.
            set_all_random_seed((self.seed + 7919 * self.epoch + 104729 * position) % 2**32)
            yield batch
            position += 1
            if self.writes and position < last and self._is_due(position, saved):
                self._save(position, sampler.digest())
                saved = time.monotonic()

    def _is_due(self, position: int, saved: float) -> bool:
        if position % self.accum_grad:
            return False
        late = bool(self.minutes) and time.monotonic() - saved >= 60 * self.minutes
        return late or (bool(self.every) and position % self.every == 0)

    def _save(self, position: int, digest: str) -> None:
        self.before()
        state = {
            "epoch": self.epoch,
            "position": position,
            "batches": digest,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        try:
            torch.save(state, self.path)
        except (OSError, RuntimeError) as error:
            # Nothing is lost yet: the epoch's own checkpoint says it if there is still no room.
            logging.warning(f"training goes on without this checkpoint: {error}")


class All:
    """Several objects of a kind, such as optimisers, as one part; None entries are passed over."""

    def __init__(self, members: Sequence[Any]):
        self.members = members

    def state_dict(self) -> dict[str, Any]:
        return {str(i): m.state_dict() for i, m in enumerate(self.members) if m is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for number, member in enumerate(self.members):
            if member is not None:
                member.load_state_dict(state[str(number)])


class Reported:
    """What ESPnet's reporter has gathered in this epoch, as one part."""

    def __init__(self, reporter: SubReporter):
        self.reporter = reporter

    def state_dict(self) -> dict[str, Any]:
        stats = {}
        for name, values in self.reporter.stats.items():
            weighted = isinstance(values[0], WeightedAverage)
            stats[name] = [(float(v.value), float(v.weight) if weighted else None) for v in values]
        counts = {"count": self.reporter.count, "total_count": self.reporter.total_count}
        return {"stats": stats, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, values in state["stats"].items():
            self.reporter.stats[name] = [
                Average(value) if weight is None else WeightedAverage(value, weight)
                for value, weight in values
            ]
        self.reporter.count, self.reporter.total_count = state["count"], state["total_count"]
