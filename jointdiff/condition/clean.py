"""The clean condition: observed channels at t = 0."""

import torch


class Clean:
    """x_0_hat(x_t, t) with `x = y` and `t = 0` on the observed channels, at every evaluation.

    The denoiser then estimates E[x_0 | x_t, y] itself, so the samples are those of the sampler on the true conditional:
    exact for a network trained with the `conditional` pattern. Wrong for one trained with a joint time only, which never
    saw different times. Bao et al. 2023, arXiv:2303.06555, section 3; Bounoua et al. 2023, arXiv:2306.04445.
    """

    def __init__(self, sde, y, mask):
        self.y, self.mask = y, mask

    def wrap(self, sampler, denoise):
        def clean(x, t):
            x_0 = denoise(torch.where(self.mask, self.y, x), torch.where(self.mask, 0.0, t))
            return torch.where(self.mask, self.y, x_0)

        return clean, sampler.step
