"""Array jobs over a list, and token lists on disk: finished ones and what a killed run left."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from espnet_hybridse.fileio.lists import read_list, whole_lines

LIST_NAME = "text_int"
PART = ".part"

Item = TypeVar("Item")


class Shard:
    """One of n array jobs over a list, or the whole list.

    Args:
        text: "i/n", 1 <= i <= n; None is the whole.

    Raises:
        ValueError: anything else.
    """

    def __init__(self, text: str | None = None):
        self.index, self.count = 1, 1
        if text is not None:
            match = re.fullmatch(r"(\d+)/(\d+)", text)
            self.index, self.count = map(int, match.groups()) if match else (0, 0)
            if not 1 <= self.index <= self.count:
                raise ValueError(f"--split {text} is not i/n with 1 <= i <= n, e.g. 1/4")
        self.whole = text is None
        self.suffix = "" if self.whole else f".{self.index}of{self.count}"

    def take(self, items: Sequence[Item]) -> list[Item]:
        """Every n-th item, so that long and short utterances are spread evenly."""
        return list(items[self.index - 1 :: self.count])

    def cut(self, wavs: dict[str, str]) -> dict[str, str]:
        """The utterances of this job, in the order of their names."""
        return {uid: wavs[uid] for uid in self.take(sorted(wavs))}

    def list_in(self, out: Path) -> Path:
        """This shard's token list."""
        return out / (LIST_NAME + self.suffix)

    def part_in(self, out: Path) -> Path:
        """What this shard appends to until it is finished."""
        return out / (LIST_NAME + self.suffix + PART)

    def finished_in(self, out: Path) -> list[Path]:
        """Lists whose utterances need not be done again: the whole one and those of all jobs."""
        return [path for path in (out / LIST_NAME, *shard_lists(out)) if path.is_file()]


def shard_lists(out: Path) -> list[Path]:
    """Finished lists of array jobs."""
    pattern = re.compile(re.escape(LIST_NAME) + r"\.\d+of\d+")
    return sorted(path for path in out.glob(f"{LIST_NAME}.*of*") if pattern.fullmatch(path.name))


def read_tokens(out: Path, shard: Shard) -> dict[str, str]:
    """Tokens of the finished lists and of this shard's interrupted run.

    A torn last line of the latter is left out.
    """
    done: dict[str, str] = {}
    for path in shard.finished_in(out):
        done.update(read_list(path))
    for line in whole_lines(shard.part_in(out)):
        uid, _, tokens = line.partition(" ")
        done[uid] = tokens
    return done
