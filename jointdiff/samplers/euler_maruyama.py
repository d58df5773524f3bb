"""Euler-Maruyama on the reverse SDE."""

from ..denoiser import score
from .base import Sampler, uniform


class EulerMaruyama(Sampler):
    """x_s = x_t + (f x_t - g^2 score) (s - t) + g sqrt(t - s) z.

    Weak order 1; needs hundreds of steps. Song et al. 2021, arXiv:2011.13456, equation 6.
    """

    def times(self, steps):
        return uniform(steps)

    def step(self, denoise, x_t, t, s, noise):
        f, g2 = (c.to(x_t) for c in self.sde.drift_diffusion(t))
        dt = (s - t).to(x_t)
        drift = f * x_t - g2 * score(self.sde, denoise(x_t, t), x_t, t.to(x_t))
        return x_t + drift * dt + (-g2 * dt).sqrt() * noise()
