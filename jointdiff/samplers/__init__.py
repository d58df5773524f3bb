"""Samplers: from noise at t = 1 to data at t = 0, given a denoiser.

A sampler is one step `x_t -> x_s` (s < t). The loop is written once, here: it starts from `sigma(1)` times standard
noise, takes the steps between the times of a grid that ends shortly before 0, and there returns the denoiser's
estimate `E[x_0 | x_t]`, which for every sampler is the exact last step of its ordinary differential equation.
"""

from collections.abc import Callable

import torch

from ..types import Denoise, Noise
from .adaptive import Adaptive
from .base import Sampler
from .ddim import DDIM
from .dpm_solver import DPMSolver
from .euler_maruyama import EulerMaruyama
from .grids import GRIDS
from .heun import Heun, StochasticHeun
from .predictor_corrector import PredictorCorrector

SAMPLERS = {
    "ddim": DDIM,
    "dpm_solver": DPMSolver,
    "heun": Heun,
    "stochastic_heun": StochasticHeun,
    "euler_maruyama": EulerMaruyama,
    "predictor_corrector": PredictorCorrector,
    "adaptive": Adaptive,
}

# A sampler frees its tensors at every step, and glibc returns them to the system and asks for them again, which costs some
# hundredths of its time. A large block, once freed, raises the size from which it does so.
torch.empty(31 * 2**20, dtype=torch.uint8)

__all__ = ["GRIDS", "SAMPLERS", "Counted", "Sampler", "sample"]


@torch.no_grad()
def sample(
    denoise: Denoise,
    sampler: Sampler,
    times: torch.Tensor,
    noise: Noise,
    condition=None,
    on_step: Callable | None = None,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """One sample a row of `noise()`, `(B, C, H, W)`.

    Args:
        denoise: `(x_t, t) -> E[x_0 | x_t]`.
        times: decreasing, from 1 (or where `start` is noised to) to just above 0, float64; `sampler.grid(sde, n)` makes
            the usual ones.
        noise: returns fresh standard normal noise at every call.
        condition: how observed channels enter (see `jointdiff.condition`); None samples everything.
        on_step: called after every step with what x is by then.
        start: data to begin from, noised to the first time, instead of from noise alone. Meng et al. 2022,
            arXiv:2108.01073.
    """
    sampler.start()
    step = sampler.step
    if condition is not None:
        denoise, step = condition.wrap(sampler, denoise)
    x = noise()
    x = sampler.sde.sigma(times[0]).to(x) * x
    if start is not None:
        x = x + sampler.sde.alpha(times[0]).to(x) * start
    for t, s in zip(times[:-1], times[1:]):
        x = step(denoise, x, t.to(x.device), s.to(x.device), noise)
        if on_step:
            on_step(x)
    x = denoise(x, times[-1].to(x.device))
    if on_step:
        on_step(x)
    return x


class Counted:
    """A denoiser that counts the rows it is asked for."""

    def __init__(self, denoise: Denoise):
        self.denoise, self.rows = denoise, 0

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.rows += len(x)
        return self.denoise(x, t)

    def beside(self, other: Denoise) -> Denoise:
        """Another denoiser whose rows are counted here."""

        def counted(x, t):
            self.rows += len(x)
            return other(x, t)

        return counted
