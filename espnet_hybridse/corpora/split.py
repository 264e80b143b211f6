"""Who goes to train, valid and test: by speaker, by recording, by room; never by utterance."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

SETS = ("train", "valid", "test")
T = TypeVar("T")


def shares(items: Sequence[T], minimum: int = 0) -> tuple[list[T], list[T], list[T]]:
    """Split in order: 80 % train, 10 % valid, 10 % test, the last two at least `minimum`."""
    tenth = max(round(0.1 * len(items)), minimum)
    cut = len(items) - 2 * tenth
    return list(items[:cut]), list(items[cut : cut + tenth]), list(items[cut + tenth :])


def assign_speakers(speakers: Iterable[str], seed: int) -> dict[str, str]:
    """Speaker -> set at random: 10 % valid and 10 % test, at least one speaker each.

    Raises:
        ValueError: fewer than three speakers.
    """
    names = sorted(set(speakers))
    if len(names) < 3:
        raise ValueError(
            f"{len(names)} speaker(s) found ({', '.join(names) or 'none'}), at least 3 needed, one "
            "each for train, valid and test; a speaker is the first sub-folder under --speech_dir, "
            "or the file's name where there are no sub-folders"
        )
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return {name: set_ for set_, part in zip(SETS, shares(order, 1), strict=True) for name in part}


def drop_shared_prompts(sets: dict[str, list], no_text: str) -> dict[str, list]:
    """Drop from valid, and then from train, every utterance with a prompt that a later set has.

    `sets` maps each set to utterances with `lang` and `clips` (their prompts); prompts compare
    without case and spaces, `no_text` never matches.
    """
    kept: dict[str, list] = {}
    taken: set = set()
    for name in reversed(SETS):
        prompts = {
            u.uid: {(u.lang, "".join(c.lower().split())) for c in u.clips if c != no_text}
            for u in sets[name]
        }
        kept[name] = [u for u in sets[name] if not taken & prompts[u.uid]]
        taken |= {prompt for u in kept[name] for prompt in prompts[u.uid]}
    return kept
