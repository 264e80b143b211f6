"""What each of two processes does that train together in a test."""

import os
import traceback
from contextlib import nullcontext

import torch
from helpers.training_runs import train_here


def train_together(rank, jobs, ports):
    """Train run after run as one of two processes, as torchrun would start them.

    Args:
        rank: 0 or 1.
        jobs: (run, number of the batch at which both are stopped or None).
        ports: one for each job, at which the two meet.
    """
    from espnet_hybridse.model.espnet_model import HybridEnhancementModel
    from espnet_hybridse.training import trainer

    torch.set_num_threads(1)
    forward, together = HybridEnhancementModel.forward, trainer.ending_together
    for (run, stop), port in zip(jobs, ports, strict=True):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
        calls = []

        def stopping(self, *args, calls=calls, stop=stop, **kwargs):
            calls.append(self.training)
            if sum(calls) == stop:
                raise KeyboardInterrupt
            return forward(self, *args, **kwargs)

        HybridEnhancementModel.forward = stopping
        # Stopped together, neither tells the other.
        trainer.ending_together = together if stop is None else lambda rank: nullcontext()
        try:
            train_here(run, "--multiprocessing_distributed", "false", "--dist_backend", "gloo")
        except KeyboardInterrupt:
            assert stop is not None
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def fail_alone(rank, port, look_every_s, log):
    """One of two processes fails while the other waits for what never comes."""
    import time

    from espnet_hybridse.training.peers import ending_together

    with open(log, "a") as handle:
        os.dup2(handle.fileno(), 2)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2
    )
    with ending_together(rank, look_every_s):
        if rank == 1:
            raise OSError("No space left on device")
        time.sleep(120)
