"""What training minimises, as a module, and how several processes share it."""

import contextlib
import functools

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from . import processes, sharding
from .loss import denoising_loss, noisy


class Objective(nn.Module):
    """The losses of a batch: `(B, M)` of its modalities, and alignment's `(B, K)`, K = 0 where there is none.

    An `elder` (see grow) says what the estimates are to be in the rows `taught`. Rows that are only looked at, `more` as
    `(x_0, times, eps)`, have their losses of alignment behind the others'.
    """

    def __init__(self, denoiser, alignment=None, elder=None):
        super().__init__()
        self.denoiser, self.alignment, self.elder, self.seen = denoiser, alignment, elder, None
        if alignment:
            denoiser.network.context.register_forward_pre_hook(self.keep)

    def keep(self, module, arguments):
        self.seen = arguments[0].float()

    def forward(self, x_0, times, eps, wanted=None, taught=None, more=None):
        aim = functools.partial(self.elder, taught=taught) if self.elder else None
        loss = denoising_loss(self.denoiser, x_0, times, eps, aim)
        if not self.alignment:
            return loss, loss.new_zeros(len(loss), 0)
        seen = self.seen
        if more:
            x_t, t = noisy(self.denoiser, *more)
            seen = torch.cat([seen, self.denoiser.look(x_t, self.denoiser.scales(t))])
        return loss, self.alignment(seen, wanted)


def spread(objective: Objective, c, device: torch.device) -> nn.Module:
    """The objective as the processes run it by `config.train`: whole on each, or with its weights divided among them."""
    network = objective.denoiser.network
    if c.shard not in ("", "full"):
        raise ValueError(f"config.train.shard = {c.shard!r}; there are '' and 'full'")
    units = network.units() if hasattr(network, "units") else []
    if c.recompute:
        for unit in units:
            unit.forward = functools.partial(checkpoint, unit.forward, use_reentrant=False)
    if c.compile:
        network.compile()
    if processes.world() == 1:
        return objective
    if c.shard == "full":
        sharding.divide(objective, units, device)
        return objective
    return DistributedDataParallel(objective)


def gathering(objective: nn.Module, last: bool) -> contextlib.AbstractContextManager:
    """In which a part of a batch is run: processes add up their gradients after the last part alone."""
    if sharding.divided(objective):
        objective.set_requires_gradient_sync(last)
    elif isinstance(objective, DistributedDataParallel) and not last:
        return objective.no_sync()
    return contextlib.nullcontext()
