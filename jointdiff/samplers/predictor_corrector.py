"""Predictor-corrector sampling."""

from ..denoiser import score
from .base import Sampler
from .euler_maruyama import EulerMaruyama


class PredictorCorrector(Sampler):
    """An Euler-Maruyama step to s, then `corrections` steps of Langevin dynamics at s.

        x <- x + e score + sqrt(2 e) z,   e = 2 alpha_s (snr |z| / |score|)^2

    Norms are of one sample each, so that samples do not depend on their batch. Biased for a finite step e. Song et al.
    2021, arXiv:2011.13456, algorithms 2 to 5.
    """

    def __init__(self, sde, snr: float = 0.16, corrections: int = 1):
        super().__init__(sde)
        self.predictor, self.snr, self.corrections = EulerMaruyama(sde), snr, corrections
        self.evaluations = 1 + corrections

    def times(self, steps):
        return self.predictor.times(steps)

    def step(self, denoise, x_t, t, s, noise):
        x = self.predictor.step(denoise, x_t, t, s, noise)
        for _ in range(self.corrections):
            gradient, z = score(self.sde, denoise(x, s), x, s.to(x)), noise()
            ratio = z.flatten(1).norm(dim=1) / gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
            e = (2 * self.sde.alpha(s).to(x) * (self.snr * ratio) ** 2)[:, None, None, None]
            x = x + e * gradient + (2 * e).sqrt() * z
        return x
