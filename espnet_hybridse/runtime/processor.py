"""The processor: its name, its maker, and its instruction sets."""

import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """What the system says of it.

    Attributes:
        name: for the reader.
        vendor: such as AuthenticAMD; "" where the system is not Linux on x86.
        flags: names of instruction sets as in /proc/cpuinfo.
    """

    name: str
    vendor: str = ""
    flags: frozenset[str] = frozenset()


@lru_cache(maxsize=1)
def processor() -> Processor:
    """Return this machine's processor (cached)."""
    if not CPUINFO.is_file():
        return Processor(platform.processor() or platform.machine())
    return parse(CPUINFO.read_text())


def parse(text: str) -> Processor:
    """Parse the text of /proc/cpuinfo; of several processors the last one counts."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    return Processor(
        fields.get("model name", platform.machine()),
        fields.get("vendor_id", ""),
        frozenset(fields.get("flags", "").split()),
    )
