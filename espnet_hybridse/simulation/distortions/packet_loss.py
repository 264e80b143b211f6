"""Packet loss: short packets of the signal replaced by zeros."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PacketLoss:
    """Zeroes the packets with these indices; each lasts `packet_duration_ms`."""

    packet_loss_indices: tuple[int, ...]
    packet_duration_ms: int = 20

    def __post_init__(self):
        if self.packet_duration_ms < 1 or any(index < 0 for index in self.packet_loss_indices):
            raise ValueError(
                f"packet_loss: packet_duration_ms={self.packet_duration_ms}, "
                f"indices {self.packet_loss_indices}; accepted: 1 ms or more, indices from 0"
            )

    def __str__(self) -> str:
        return (
            f"packet_loss(packet_loss_indices={list(self.packet_loss_indices)},"
            f"packet_duration_ms={self.packet_duration_ms})"
        )

    def apply(
        self, speech: np.ndarray, fs: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Zero the lost packets of (T,) at `fs` Hz in a copy, float32; `rng` plays no part."""
        lossy = np.array(speech, dtype=np.float32)
        for index in self.packet_loss_indices:
            start = index * self.packet_duration_ms * fs // 1000
            lossy[start : (index + 1) * self.packet_duration_ms * fs // 1000] = 0.0
        return lossy


def draw_lost_packets(
    packets: int, loss_rate: float, max_consecutive: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Indices of round(packets * loss_rate) lost packets, in runs of 1..max_consecutive.

    Runs never touch, so the rate and the longest run are exactly those asked for (the
    challenge's generator lets runs overlap and overrun; ours is the stricter reading).
    """
    lost = int(round(packets * loss_rate))
    runs, left = [], lost
    while left > 0:
        runs.append(min(int(rng.integers(1, max_consecutive + 1)), left))
        left -= runs[-1]
    received = packets - lost
    # One run at most stands before each received packet or after the last.
    runs = runs[: received + 1]
    slots = np.sort(rng.choice(received + 1, size=len(runs), replace=False))
    indices, before = [], 0
    for slot, run in zip(slots.tolist(), runs, strict=True):
        indices.extend(range(slot + before, slot + before + run))
        before += run
    return tuple(indices)
