"""Replacement: observed channels noised to the sampler's time."""

import torch


class Replace:
    """Before every step the observed channels become `alpha_t y + sigma_t z`, z fresh.

    Works with a network trained with one time for all. **Biased, even with a perfect score**: it samples with the score
    of p(x_t) where that of p(x_t | y) is needed, and leaves out grad log p(y | x_t). Song et al. 2021, arXiv:2011.13456,
    section 5 and appendix I.2.
    """

    def __init__(self, sde, y, mask):
        self.sde, self.y, self.mask = sde, y, mask

    def noised(self, x, t, noise):
        """x with the observed channels at time t."""
        y_t = self.sde.alpha(t).to(x) * self.y + self.sde.sigma(t).to(x) * noise()
        return torch.where(self.mask, y_t, x)

    def wrap(self, sampler, denoise):
        def step(denoise, x_t, t, s, noise):
            return sampler.step(denoise, self.noised(x_t, t, noise), t, s, noise)

        def replaced(x, t):
            return torch.where(self.mask, self.y, denoise(x, t))

        return replaced, step
