"""Euler-Maruyama on the reverse SDE."""

from ..denoiser import score
from .base import Sampler
from .grids import uniform


class EulerMaruyama(Sampler):
    """x_s = x_t + (f x_t - g^2 score) (s - t) + g sqrt(t - s) z.

    Weak order 1; needs hundreds of steps. Song et al. 2021, arXiv:2011.13456, equation 6.
    """

    grid = staticmethod(uniform)

    def step(self, denoise, x_t, t, s, noise):
        mean, std = self.kernel(denoise(x_t, t), x_t, t, s)
        return mean + std * noise()

    def kernel(self, x_0, x_t, t, s):
        f, g2 = (c.to(x_t) for c in self.sde.drift_diffusion(t))
        dt = (s - t).to(x_t)
        return x_t + (f * x_t - g2 * score(self.sde, x_0, x_t, t.to(x_t))) * dt, (-g2 * dt).sqrt()
