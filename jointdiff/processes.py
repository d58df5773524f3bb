"""Several processes on one task, as `torchrun` starts them."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


@contextlib.contextmanager
def together() -> Iterator[bool]:
    """The processes that the environment speaks of, joined: nccl on GPUs, gloo without. Yields whether there are several."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if several:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield several
    finally:
        if several:
            dist.destroy_process_group()


def meet() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


def agreed(number: int, device: torch.device) -> int:
    """The first process's number, for all of them."""
    if world() == 1:
        return number
    told = torch.tensor(number, device=device)
    dist.broadcast(told, 0)
    return int(told)


def gathered(mine: dict) -> dict[Any, Any]:
    """The union of every process's dict, in the order of its keys."""
    if world() == 1:
        return mine
    parts: list = [None] * world()
    dist.all_gather_object(parts, mine)
    union = {k: v for part in parts for k, v in part.items()}
    return {k: union[k] for k in sorted(union)}
