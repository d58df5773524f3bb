"""The probability-flow ODE to a tolerance."""

from .base import Sampler
from .grids import log_snr
from .ode import integrate


class Adaptive(Sampler):
    """Dormand and Prince's method of order 5 on `dy/dl = y - x_0_hat`, y = x / alpha, l = log(sigma / alpha).

    Every sample has step sizes of its own. `steps` says only at how many times a condition acts; the evaluations follow
    from the tolerance, six for every inner step. Song et al. 2021, arXiv:2011.13456, appendix D.4.
    """

    grid = staticmethod(log_snr)

    def __init__(self, sde, rtol: float = 1e-3, atol: float = 1e-3):
        super().__init__(sde)
        self.rtol, self.atol = rtol, atol

    def step(self, denoise, x_t, t, s, noise):
        log_t, log_s = self.sde.ratio(t).log(), self.sde.ratio(s).log()
        length = (log_s - log_t).to(x_t)

        def slope(y, u):
            y = y.view(x_t.shape)
            u = u.double()[:, None, None, None]
            time = self.sde.time((log_t + u * (log_s - log_t)).exp())
            return (length * (y - denoise(self.sde.alpha(time).to(y) * y, time))).flatten(1)

        y = integrate(slope, (x_t / self.sde.alpha(t).to(x_t)).flatten(1), self.rtol, self.atol)
        return self.sde.alpha(s).to(x_t) * y.view(x_t.shape)
