"""Reconstruction guidance and PiGDM: the missing gradient, from a guess of p(y | x_t) = N(x_0_hat, v)."""

import torch

from .gradient import with_pullback


def guided(sde, y, mask, denoise, variance):
    """x_0_hat + (sigma^2 / alpha) J^T (y - x_0_hat) / v, with y itself on the observed channels; Bayes' rule for the guess."""

    def estimate(x, t):
        x_0, pullback = with_pullback(denoise, x, t)
        gap = torch.where(mask, y - x_0, 0.0) / variance(t).to(x)
        shift = (sde.sigma(t) ** 2 / sde.alpha(t)).to(x) * pullback(gap)
        return torch.where(mask, y, x_0 + shift)

    return estimate


class Guide:
    """Reconstruction guidance: v = (sigma / alpha)^2 / weight.

    **Biased** for every weight: v ignores that the data are known to vary little, so weight 1 pulls too little at high
    noise and a larger one too much at low noise. Ho et al. 2022, arXiv:2204.03458, equation 7 (its w_r is twice this
    weight).
    """

    def __init__(self, sde, y, mask, weight: float = 2.0):
        self.sde, self.y, self.mask, self.weight = sde, y, mask, weight

    def wrap(self, sampler, denoise):
        variance = lambda t: self.sde.ratio(t) ** 2 / self.weight
        return guided(self.sde, self.y, self.mask, denoise, variance), sampler.step


class PiGDM:
    """Pseudo-inverse guidance: v = s^2 sigma^2 / (s^2 alpha^2 + sigma^2), the posterior variance of independent Gaussian data.

    s is the data's standard deviation, a number or `(1, C, 1, 1)`. **Biased** as soon as the channels depend on each
    other, which is why one conditions; less than `Guide`. Song et al. 2023 (ICLR, "Pseudoinverse-guided diffusion
    models"), equation 7 and section 3.2, for a clean observation.
    """

    needs = ("data_std",)

    def __init__(self, sde, y, mask, data_std=1.0):
        self.sde, self.y, self.mask, self.data_std = sde, y, mask, data_std

    def wrap(self, sampler, denoise):
        variance = lambda t: posterior_variance(self.sde, t, self.data_std)
        return guided(self.sde, self.y, self.mask, denoise, variance), sampler.step


def posterior_variance(sde, t, data_std):
    """Var[x_0 | x_t] of `x_0 ~ N(., data_std^2)`."""
    return data_std**2 * sde.sigma(t) ** 2 / (data_std**2 * sde.alpha(t) ** 2 + sde.sigma(t) ** 2)
