"""Time of calls, measured in turns so that the machine's noise hits all of them alike."""

import time
from collections.abc import Callable, Mapping

import torch
from tqdm import tqdm

Call = Callable[[], object]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    calls: Mapping[str, Call],
    repeat: int,
    device: torch.device,
    limit_s: float = float("inf"),
    desc: str = "",
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of `repeat` calls of each, interleaved: A B C, A B C, …

    Warm every call up before. No new turn begins once `limit_s` seconds have passed, so slow calls
    are timed less often than `repeat` says, but once at least.

    Returns:
        name -> seconds of each call, and name -> reason for those that failed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    failed: dict[str, str] = {}
    begin = time.perf_counter()
    with tqdm(total=repeat * len(calls), desc=desc, unit="call", leave=False) as bar:
        for _ in range(repeat):
            for name in [name for name in times if name not in failed]:
                try:
                    times[name].append(seconds_of(calls[name], device))
                except Exception as error:  # of any kind: the others are measured all the same
                    failed[name] = reason(error)
                bar.update()
            if time.perf_counter() - begin > limit_s:
                break
    return {name: values for name, values in times.items() if name not in failed}, failed


def seconds_of(call: Call, device: torch.device) -> float:
    """Wall-clock seconds of one call, with everything it started on the device."""
    synchronise(device)
    start = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - start


def reason(error: BaseException) -> str:
    """The first line of an error, or its type where it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
