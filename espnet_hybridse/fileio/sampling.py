"""A part of a list that stands for the whole."""

import random
from collections.abc import Hashable, Mapping, Sequence


def sample(
    keys: Sequence[str], count: int, strata: Mapping[str, Hashable] | None = None, seed: int = 0
) -> list[str]:
    """At most `count` of the keys, drawn at random, in their order.

    Args:
        keys: to draw from.
        count: of those drawn.
        strata: what must have the same share among those drawn as among all, such as the sampling
            rate; keys that are not in it are one stratum.
        seed: the same gives the same, whatever the order of the keys.
    """
    if count >= len(keys):
        return list(keys)
    members: dict[Hashable, list[str]] = {}
    for key in sorted(keys):
        members.setdefault((strata or {}).get(key), []).append(key)
    # Whole shares first, then one more each to the largest remainders.
    shares = {name: count * len(part) / len(keys) for name, part in members.items()}
    sizes = {name: int(share) for name, share in shares.items()}
    order = sorted(shares, key=lambda name: (sizes[name] - shares[name], str(name)))
    for name in order[: count - sum(sizes.values())]:
        sizes[name] += 1
    draw = random.Random(seed)
    chosen: set[str] = set()
    for name in sorted(members, key=str):
        chosen.update(draw.sample(members[name], sizes[name]))
    return [key for key in keys if key in chosen]
