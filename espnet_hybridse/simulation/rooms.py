"""Simulated rooms: impulse responses of shoebox rooms by image sources and ray tracing."""

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_hybridse.fileio.audio import write_audio

FS = 48000
POSITIONS = 3
DIMENSIONS_M = ((3.0, 2.5, 2.4), (10.0, 8.0, 4.0))
RT60_SECONDS = (0.15, 0.9)
DISTANCE_M = (0.4, 4.0)
MAX_ORDER = 6
N_RAYS = 2000


def render_rooms(folder: Path, num_rirs: int, seed: int, pool: Executor) -> list[list[Path]]:
    """Render `num_rirs` responses, up to three source positions a room: float WAVs of each room.

    Rooms are 3-10 x 2.5-8 x 2.4-4 m with an RT60 of 0.15-0.9 s, source and microphone 0.4-4 m
    apart and 0.4 m from every wall (our choices: homes, offices and class rooms). Responses are
    float WAV because an integer format would lose their level or their tail. Existing files are
    kept: each depends on the seed and its room's number only.

    Raises:
        ValueError: fewer than one response, or pyroomacoustics is missing.
    """
    if num_rirs < 1:
        raise ValueError(f"{num_rirs} room responses; accepted: 1 or more")
    rooms = range(-(-num_rirs // POSITIONS))
    rendered = pool.map(partial(_render_room, folder, seed), rooms)
    made = list(tqdm(rendered, "rooms", len(rooms)))
    made[-1] = made[-1][: num_rirs - POSITIONS * (len(rooms) - 1)]
    return made


def _render_room(folder: Path, seed: int, index: int) -> list[Path]:
    """The responses of room `index`: POSITIONS files, normalised to a peak of 1."""
    paths = [folder / f"room{index:03d}-{k}.wav" for k in range(POSITIONS)]
    if all(path.is_file() for path in paths):
        return paths
    try:
        import pyroomacoustics as pra
    except ImportError as error:
        raise ValueError("room responses need: pip install pyroomacoustics") from error
    rng = np.random.default_rng([seed, index])
    pra.random.seed(int(rng.integers(2**31)))
    dimensions = rng.uniform(*DIMENSIONS_M)
    room = pra.ShoeBox(
        dimensions,
        fs=FS,
        materials=pra.Material(_absorption(rng.uniform(*RT60_SECONDS), dimensions)),
        max_order=MAX_ORDER,
        ray_tracing=True,
        air_absorption=True,
    )
    room.set_ray_tracing(n_rays=N_RAYS)
    microphone = _inside(dimensions, rng)
    room.add_microphone(microphone)
    while len(room.sources) < POSITIONS:
        source = _inside(dimensions, rng)
        if DISTANCE_M[0] <= np.linalg.norm(source - microphone) <= DISTANCE_M[1]:
            room.add_source(source)
    room.compute_rir()
    for path, rir in zip(paths, room.rir[0], strict=True):
        rir = np.asarray(rir, dtype=np.float32)
        write_audio(path, rir / np.abs(rir).max(), FS, subtype="FLOAT")
    return paths


def _absorption(rt60: float, dimensions: np.ndarray) -> float:
    """Energy absorption of the walls for `rt60` s by Eyring's formula, which is always below 1."""
    volume = dimensions.prod()
    surface = 2 * (volume / dimensions).sum()
    return float(1 - np.exp(-0.1611 * volume / (surface * rt60)))


def _inside(dimensions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A position (3,) in m, at least 0.4 m from every wall."""
    return rng.uniform(0.4, dimensions - 0.4)
