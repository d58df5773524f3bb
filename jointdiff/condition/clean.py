"""The clean condition: observed channels at the time whose noise they have, t = 0 when they have none."""

import torch

from ..samplers import DDIM
from ..samplers.grids import LOWEST, karras_ratios
from ..types import Denoise, Noise


class Clean:
    """x_0_hat(x_t, t) with `x = alpha(tau) y` and `t = tau` on the observed channels, at every evaluation.

    tau is the time at which `sigma / alpha = level`, the standard deviation of the noise in y: 0 for a clean observation.
    The denoiser then estimates E[x_0 | x_t, y] itself, so the samples are those of the sampler on the true conditional:
    exact for a network trained with the `conditional` (clean) or `independent` (noisy) pattern. Wrong for one trained
    with a joint time only, which never saw different times. Bao et al. 2023, arXiv:2303.06555, section 3; Bounoua et al.
    2023, arXiv:2306.04445.

    Args:
        level: `(1 or B, C, 1, 1)`, in the modality's units; 0 when None.
    """

    def __init__(self, sde, y, mask, level=None):
        self.y, self.mask = y, mask
        level = torch.zeros(1, y.shape[1], 1, 1) if level is None else level
        if (level == level[:1]).all():
            level = level[:1]  # one time for the whole batch
        # the highest observable noise is that of t = 1; a time below 0 of VE is clamped to 0 by `time`
        self.tau = torch.where(level > 0, sde.time(level.double()), 0.0).to(mask.device)
        exact = torch.where(level > 0, sde.alpha(self.tau.cpu()), 1.0)
        self.noised = exact.to(y) * y

    def wrap(self, sampler, denoise):
        tau, mask, observed = self.tau, self.mask, self.mask.flatten().nonzero()[:, 0]
        y, noised = self.y[:, observed], self.noised[:, observed]

        def hold(x, t):
            x_0 = denoise(x.index_copy(1, observed, noised), torch.where(mask, tau, t))
            return x_0.index_copy(1, observed, y)

        return hold, sampler.step


@torch.no_grad()
def without_noise(denoise: Denoise, sde, y, level, noise: Noise, steps: int) -> torch.Tensor:
    """A draw from p(x_0 | y), y being data with noise of standard deviation `level` `(1 or B, C, 1, 1)` a channel.

    By ancestral steps, each channel from the time whose noise it has; where the level is 0 y stays. As y says nothing of
    the rest that x_0 does not say, a draw of the rest given x_0, with x_0 drawn so, is one from p(rest | y). With the
    exact score that is what `Clean` with a level draws as well; a network knows clean conditions better than noisy ones,
    and is better asked in these two parts. A denoiser for what it does not know is made by `leave_out`.
    """
    level = level.double().to(y.device).expand(len(y), -1, -1, -1)
    noisy = level > 0
    u = torch.linspace(0, 1, steps, dtype=torch.float64).view(-1, 1, 1, 1, 1).to(y.device)
    times = sde.time(karras_ratios(level.clamp(min=LOWEST), LOWEST, u))
    sampler = DDIM(sde, eta=1.0)
    seen = lambda x, t: denoise(torch.where(noisy, x, y), torch.where(noisy, t, 0.0))
    x = sde.alpha(times[0]).to(y) * y
    for t, s in zip(times[:-1], times[1:]):
        x = sampler.step(seen, x, t, s, noise)
    return torch.where(noisy, seen(x, times[-1]), y)
