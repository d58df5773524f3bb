"""Predictor-corrector sampling."""

from .base import Sampler
from .euler_maruyama import EulerMaruyama
from .grids import uniform
from .langevin import langevin


class PredictorCorrector(Sampler):
    """An Euler-Maruyama step to s, then `corrections` steps of Langevin dynamics at s.

    Song et al. 2021, arXiv:2011.13456, algorithms 2 to 5.
    """

    grid = staticmethod(uniform)

    def __init__(self, sde, snr: float = 0.16, corrections: int = 1):
        super().__init__(sde)
        self.predictor, self.snr, self.corrections = EulerMaruyama(sde), snr, corrections

    def step(self, denoise, x_t, t, s, noise):
        x = self.predictor.step(denoise, x_t, t, s, noise)
        for _ in range(self.corrections):
            x = langevin(self.sde, denoise, x, s, noise, self.snr)
        return x
