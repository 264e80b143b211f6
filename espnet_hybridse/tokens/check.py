"""Token lists that would spoil a training, named before it starts."""

from collections import Counter
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.shards import LIST_NAME
from espnet_hybridse.tokens.manifest import ManifestError

SAMPLED = 2000
"""Utterances that are looked at: of a million the reading alone would take minutes."""
SHARE = 0.99
"""Of one token among all: a codec that does not work gives one for everything (our choice)."""
LEAST = 200
"""Tokens below which the share says nothing."""


def check_tokens(folder: Path, vocab_size: int) -> None:
    """Look at the tokens of utterances spread evenly over `folder/text_int`.

    Raises:
        ManifestError: one is outside of the vocabulary or no number, or nearly all are the same.
    """
    counts: Counter[int] = Counter()
    for line in sampled_lines(folder / LIST_NAME, SAMPLED):
        uid, *words = line.split()
        wrong = next((word for word in words if not word.isascii() or not word.isdigit()), None)
        wrong = wrong or next((word for word in words if int(word) >= vocab_size), None)
        if wrong is not None:
            raise ManifestError(
                f"{folder / LIST_NAME}: {uid} has the token {wrong}, but the vocabulary is 0 to "
                f"{vocab_size - 1}; make the tokens again with the tokenizer of its manifest.json"
            )
        counts.update(map(int, words))
    [(token, count)] = counts.most_common(1) or [(0, 0)]
    if counts.total() >= LEAST and count > SHARE * counts.total():
        raise ManifestError(
            f"{folder / LIST_NAME}: {100 * count / counts.total():.1f} % of the tokens are "
            f"{token}: the codec does not work, and a language model of them learns nothing; make "
            "them again with other weights (hybridse tokenize --model), or --backend kmeans"
        )


def sampled_lines(path: Path, count: int) -> list[str]:
    """Read at most `count` whole lines, spread evenly over a file of any length."""
    size = path.stat().st_size
    lines: dict[int, str] = {}
    with open(path, "rb") as handle:
        for offset in np.linspace(0, size, count, endpoint=False).astype(int).tolist():
            handle.seek(max(offset - 1, 0))
            if offset:
                handle.readline()  # the rest of the line that the offset lies in
            place = handle.tell()
            line = b"" if place in lines else handle.readline()
            if line.strip():
                lines[place] = line.decode("utf-8", "replace")
    return list(lines.values())
