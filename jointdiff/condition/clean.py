"""The clean condition: observed channels at the time whose noise they have, t = 0 when they have none."""

import torch


class Clean:
    """x_0_hat(x_t, t) with `x = alpha(tau) y` and `t = tau` on the observed channels, at every evaluation.

    tau is the time at which `sigma / alpha = level`, the standard deviation of the noise in y: 0 for a clean observation.
    The denoiser then estimates E[x_0 | x_t, y] itself, so the samples are those of the sampler on the true conditional:
    exact for a network trained with the `conditional` (clean) or `independent` (noisy) pattern. Wrong for one trained
    with a joint time only, which never saw different times. Bao et al. 2023, arXiv:2303.06555, section 3; Bounoua et al.
    2023, arXiv:2306.04445.

    Args:
        level: `(1 or B, C, 1, 1)`, in the modality's units; 0 when None.
        denoise_given: the observed channels come back denoised. They join the others when these have come down to tau,
            so that all are one draw from p(x_0 | y). Without it they come back as they were given.
    """

    def __init__(self, sde, y, mask, level=None, denoise_given: bool = False):
        self.sde, self.y, self.mask = sde, y, mask
        level = torch.zeros(1, y.shape[1], 1, 1) if level is None else level
        if (level == level[:1]).all():
            level = level[:1]  # one time for the whole batch
        # the highest observable noise is that of t = 1; a time below 0 of VE is clamped to 0 by `time`
        self.tau = torch.where(level > 0, sde.time(level.double()), 0.0).to(mask.device)
        exact = torch.where(level > 0, sde.alpha(self.tau.cpu()), 1.0)
        self.noised = exact.to(y) * y
        self.denoise_given = denoise_given
        self.observed = mask.flatten().nonzero()[:, 0]

    def wrap(self, sampler, denoise):
        tau, mask, observed = self.tau, self.mask, self.observed
        y, noised = self.y[:, observed], self.noised[:, observed]

        def hold(x, t):
            x_0 = denoise(x.index_copy(1, observed, noised), torch.where(mask, tau, t))
            return x_0.index_copy(1, observed, y)

        if not self.denoise_given:
            return hold, sampler.step
        if not sampler.reverse_sde:
            raise ValueError(
                f"{type(sampler).__name__} does not follow the reverse SDE, and so cannot draw what a noisy observation "
                "was; to denoise what is given choose the sampler ddim with eta = 1, or euler_maruyama"
            )

        def own(t):
            return torch.where(mask, torch.minimum(t, tau), t)

        def together(x, t):
            t = own(t)
            return denoise(torch.where(mask & (t >= tau), self.noised, x), t)

        def step(denoise, x_t, t, s, noise):
            x_t = torch.where(mask & (own(t) >= tau), self.noised, x_t)
            x_s = sampler.step(denoise, x_t, own(t), own(s), noise)
            return torch.where(mask & (own(s) >= tau), self.noised, x_s)

        return together, step
