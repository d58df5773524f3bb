"""Predictor-corrector sampling."""

from ..denoiser import score
from .base import Sampler
from .euler_maruyama import EulerMaruyama


class PredictorCorrector(Sampler):
    """An Euler-Maruyama step to s, then `corrections` steps of Langevin dynamics at s.

        x <- x + e score + sqrt(2 e) z,   e = 2 alpha_s (snr sigma_s)^2

    The paper's step has the batch's mean |z| / |score| where sigma_s stands here, which is what that ratio is for pure
    noise: so a sample does not depend on its batch, and the step not on the sample. Biased for a finite step e. Song et
    al. 2021, arXiv:2011.13456, algorithms 2 to 5.
    """

    def __init__(self, sde, snr: float = 0.16, corrections: int = 1):
        super().__init__(sde)
        self.predictor, self.snr, self.corrections = EulerMaruyama(sde), snr, corrections
        self.evaluations = 1 + corrections

    def times(self, steps):
        return self.predictor.times(steps)

    def step(self, denoise, x_t, t, s, noise):
        x = self.predictor.step(denoise, x_t, t, s, noise)
        e = (2 * self.sde.alpha(s) * (self.snr * self.sde.sigma(s)) ** 2).to(x)
        for _ in range(self.corrections):
            gradient = score(self.sde, denoise(x, s), x, s.to(x))
            x = x + e * gradient + (2 * e).sqrt() * noise()
        return x
