"""Provenance of a set: where its meta.tsv came from, kept beside it to make and check it again."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_hybridse.fileio.lists import ListError, write_json
from espnet_hybridse.simulation.config import SimulationConfig

NAME = "simulation.json"


@dataclass(frozen=True)
class Origin:
    """What decides the content of a set.

    sources: folder of the source lists
    meta: the list that was rendered, where it was not drawn here; num, seed and config are then
        without meaning
    """

    sources: str
    format: str
    num: int = 0
    seed: int = 0
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    meta: str | None = None

    @classmethod
    def drawn(
        cls, sources: str | Path, format: str, num: int, seed: int, config: SimulationConfig
    ) -> "Origin":
        """Return the origin of parameters that are drawn from a config."""
        # As JSON gives it back: tuples become lists, keys text.
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        return cls(str(Path(sources).resolve()), format, num, seed, values)

    @classmethod
    def given(cls, sources: str | Path, format: str, meta: str | Path) -> "Origin":
        """Return the origin of parameters that are read from another meta.tsv."""
        return cls(str(Path(sources).resolve()), format, meta=str(Path(meta).resolve()))

    def write(self, out: str | Path) -> None:
        """Record it in the set's folder."""
        write_json(Path(out) / NAME, dataclasses.asdict(self))

    def differences(self, other: "Origin") -> str:
        """`seed 0 against 1, …`: what differs, or nothing."""
        pairs = []
        for spec in dataclasses.fields(self):
            mine, theirs = getattr(self, spec.name), getattr(other, spec.name)
            if mine != theirs:
                known = spec.name == "config"
                pairs.append(spec.name if known else f"{spec.name} {mine} against {theirs}")
        return ", ".join(pairs)


def read_origin(out: str | Path) -> Origin | None:
    """The record of a set, or None where there is none.

    Raises:
        ListError: the record is damaged.
    """
    path = Path(out) / NAME
    if not path.is_file():
        return None
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ListError(f"{path}: damaged ({error}); run 'hybridse simulate' again") from error
