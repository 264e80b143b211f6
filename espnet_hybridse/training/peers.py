"""Processes that train together end together, with the words of the one that failed."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.distributed import PrefixStore, distributed_c10d

LOOK_EVERY_S = 1.0
KEY = "failed"


@contextmanager
def ending_together(rank: int, look_every_s: float = LOOK_EVERY_S) -> Iterator[None]:
    """Within, an error of one process ends all of them.

    The others would wait for it in their next exchange until that times out, half an hour later,
    and then tell of a lost connection. Each looks into the store in which the processes met.

    Args:
        rank: of this process, in the group that is already there.
        look_every_s: seconds between two looks.
    """
    store = PrefixStore("hybridse", distributed_c10d._get_default_store())
    done = threading.Event()

    def look() -> None:
        while not done.wait(look_every_s):
            try:
                if store.check([KEY]):
                    words = store.get(KEY).decode("utf-8", "replace")
                    print(f"rank {rank} ends with {words}", file=sys.stderr, flush=True)
                    os._exit(1)
            except (RuntimeError, torch.distributed.DistError):
                return  # the store ended with its process: whoever started them ends the others

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, SystemExit) and not error.code):
            store.set(KEY, f"rank {rank}: {type(error).__name__}: {error}")
            # The store may be this process's own: it stays until the others have looked.
            done.set()
            time.sleep(2 * look_every_s)
        raise
    finally:
        done.set()
        thread.join()
