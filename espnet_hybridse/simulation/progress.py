"""How far a long job is: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time

from tqdm import tqdm

EVERY_S = 30.0


class Progress:
    """Counts to `total`; as a context manager it closes its bar."""

    def __init__(self, total: int, name: str, every_s: float = EVERY_S):
        self.total, self.name, self.every_s = total, name, every_s
        self.done = 0
        self.start = self.last = time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = tqdm(total=total, desc=name, unit="utt", disable=not terminal)
        self.logs = not terminal

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self.bar.close()

    def update(self) -> None:
        """One more is done."""
        self.done += 1
        self.bar.update()
        now = time.monotonic()
        if self.logs and now - self.last >= self.every_s:
            self.last = now
            logging.info(self.line(now - self.start))

    def line(self, seconds: float) -> str:
        """What is done after `seconds`, utterances per second and the time left."""
        rate = self.done / max(seconds, 1e-9)
        left = round((self.total - self.done) / max(rate, 1e-9))
        clock = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
        return f"{self.name}: {self.done} of {self.total}, {rate:.1f} utt/s, {clock} left"
