"""What training steps report: kept on the device, fetched for many steps at once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from espnet2.train.reporter import SubReporter

EVERY = 25
"""Steps between two fetches on a GPU: each makes Python wait until the GPU has caught up."""


class StepRow(NamedTuple):
    """One batch: names of the values on the device, those and the weight, what Python knows."""

    weighted: tuple[str, ...]
    plain: tuple[str, ...]
    groups: tuple[str, ...]
    values: torch.Tensor
    known: dict[str, float]


class StepValues:
    """Passes values to ESPnet's reporter, which would wait for the GPU at each of them.

    Args:
        reporter: ESPnet's, of this epoch.
        every: batches between two fetches.
    """

    def __init__(self, reporter: SubReporter, every: int = EVERY):
        self.reporter, self.every = reporter, every
        self._rows: list[StepRow] = []

    def add(
        self,
        weighted: Mapping[str, torch.Tensor],
        weight: float | torch.Tensor,
        plain: Mapping[str, torch.Tensor] | None = None,
        known: Mapping[str, float] | None = None,
        groups: Sequence[str] = (),
        of_groups: torch.Tensor | None = None,
    ) -> bool:
        """Take in the values of one batch; true once so many wait that a fetch is due.

        Args:
            weighted: to be averaged with `weight`; one number each.
            weight: of the batch, such as its number of utterances.
            plain: to be averaged as they are; one number each.
            known: as `plain`, but numbers of Python.
            groups: names of values that hold for a part of the batch each.
            of_groups: (2, len(groups)), their sums over the members and how many these are.
        """
        plain = plain or {}
        given = [*weighted.values(), *plain.values()]
        if not isinstance(weight, torch.Tensor):
            weight = given[0].new_full((), weight, dtype=torch.float)
        given = [value.detach().reshape(()).float() for value in (*given, weight)]
        # A criterion may report what it knows on the CPU.
        values = torch.stack([value.to(given[0].device, non_blocking=True) for value in given])
        if groups:
            values = torch.cat([values, of_groups.flatten().float()])
        names = tuple(weighted), tuple(plain), tuple(groups)
        self._rows.append(StepRow(*names, values, dict(known or {})))
        return len(self._rows) >= self.every

    def fetch(self) -> list[dict[str, float]]:
        """Report what has been added since the last fetch; returns it, batch by batch."""
        rows, self._rows = self._rows, []
        if not rows:
            return []
        numbers = iter(torch.cat([row.values for row in rows]).tolist())
        fetched = []
        for row in rows:
            weighted = {name: next(numbers) for name in row.weighted}
            plain = {**{name: next(numbers) for name in row.plain}, **row.known}
            weight = next(numbers)
            sums, counts = ([next(numbers) for _ in row.groups] for _ in range(2))
            for name, total, count in zip(row.groups, sums, counts, strict=True):
                if count:
                    self.reporter.register({name: total / count}, count)
            if weighted:
                self.reporter.register(weighted, weight)
            if plain:
                self.reporter.register(plain)
            self.reporter.next()
            fetched.append({**weighted, **plain})
        return fetched
