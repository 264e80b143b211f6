"""Description of one corpus, and of one of its files."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.corpora.recordings import NO_TEXT
from espnet_hybridse.corpora.split import SETS

KINDS = ("speech", "noise", "wind", "rir")


@dataclass(frozen=True)
class Item:
    """One file as its corpus describes it.

    part: train, valid or test
    lang: ISO 639-3, as in the challenge's utt2lang
    """

    uid: str
    path: Path
    part: str = "train"
    speaker: str = ""
    lang: str = "und"
    text: str = NO_TEXT

    def __post_init__(self):
        if self.part not in SETS:
            raise ValueError(f"{self.path}: part {self.part!r}; accepted: {', '.join(SETS)}")


@dataclass(frozen=True)
class Corpus:
    """A corpus of the challenge.

    variable: its folder in db.sh
    layout: patterns below that folder, of which one at least must match
    reader: folder -> its files
    steps: what to download and where it goes
    effective_rate: whether files are lowered to the rate that their content fills, as the
        challenge does with recordings of unknown origin
    selected: whether the challenge's selection list applies to it

    Raises:
        ValueError: a name, kind or variable that cannot be.
    """

    name: str
    variable: str
    title: str
    kind: str
    licence: str
    size: str
    url: str
    steps: tuple[str, ...]
    layout: tuple[str, ...]
    reader: Callable[[Path], Iterator[Item]]
    effective_rate: bool = True
    selected: bool = False

    def __post_init__(self):
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"name {self.name!r}: small letters, digits and _ are accepted")
        if not re.fullmatch(r"[A-Z0-9_]+", self.variable):
            raise ValueError(f"variable {self.variable!r}: capitals, digits and _ are accepted")
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind {self.kind!r}; accepted: {', '.join(KINDS)}")
        if self.selected and self.kind != "speech":
            raise ValueError(f"{self.name}: only speech is selected, this is {self.kind}")
        if not (self.licence and self.size and self.url and self.steps and self.layout):
            raise ValueError(f"{self.name}: licence, size, url, steps and layout are all needed")

    def how_to_get(self) -> str:
        """What to download and where, with licence and size: a few lines."""
        lines = [f"{self.title}: {self.url}", f"  licence {self.licence}; {self.size}"]
        lines += [f"  {step}" for step in self.steps]
        lines.append(
            f"  then set {self.variable} in db.sh to the folder with {' or '.join(self.layout)}"
        )
        return "\n".join(lines)

    def check(self, root: Path) -> None:
        """Raise a ValueError that says what is missing unless the corpus lies at `root`."""
        if not root.is_dir():
            raise ValueError(f"{self.variable}={root}: no such folder.\n{self.how_to_get()}")
        if not any(next(root.glob(pattern), None) for pattern in self.layout):
            raise ValueError(
                f"{self.variable}={root}: found no {' or '.join(self.layout)} below it.\n"
                + self.how_to_get()
            )


def clean_uid(text: str) -> str:
    """`text` without spaces and brackets, as the challenge renames such files."""
    return re.sub(r"[ ()\t]", "_", text)
