"""DPM-Solver++, multistep."""

import torch

from .base import Sampler
from .grids import log_snr


class DPMSolver(Sampler):
    """DPM-Solver++(2M): second order with one evaluation a step. With l = log(alpha / sigma) and h = l_s - l_t,

        x_s = sigma_s / sigma_t x_t - alpha_s (exp(-h) - 1) D,   D = x_0_hat + h / (2 h') (x_0_hat - x_0_hat'),

    ' of the step before. The first step, and one that does not start where the last one ended, has D = x_0_hat. Lu et
    al. 2022, arXiv:2211.01095, algorithm 2.
    """

    grid = staticmethod(log_snr)

    def start(self):
        self.last = None

    def step(self, denoise, x_t, t, s, noise):
        log = lambda u: -self.sde.ratio(u).log()
        h = log(s) - log(t)
        x_0 = d = denoise(x_t, t)
        if self.last is not None and torch.equal(self.last[0], t):
            _, x_0_before, h_before = self.last
            weight = torch.where(h_before > 0, h / (2 * h_before), 0.0)  # channels that stood still have no slope
            d = x_0 + weight.to(x_t) * (x_0 - x_0_before)
        self.last = (s, x_0, h)
        return (self.sde.sigma(s) / self.sde.sigma(t)).to(x_t) * x_t - (self.sde.alpha(s) * torch.expm1(-h)).to(x_t) * d
