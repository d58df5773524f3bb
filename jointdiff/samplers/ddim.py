"""DDIM, deterministic or not."""

from .base import Sampler


class DDIM(Sampler):
    """x_s = alpha_s x_0_hat + sqrt(sigma_s^2 - eta^2 v) eps_hat + eta sqrt(v) z.

    v is the variance of `x_s` given `x_t` and `x_0`: `v = (sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) sigma_s^2 /
    sigma_t^2`. eta = 0 is the ODE's exponential Euler step, order 1; eta = 1 is ancestral sampling. Song, Meng and
    Ermon 2021, arXiv:2010.02502, equations 12 and 16, for any alpha and sigma.
    """

    def __init__(self, sde, eta: float = 0.0):
        super().__init__(sde)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta = {eta}; expected 0 (deterministic) to 1 (ancestral)")
        self.eta = eta

    def step(self, denoise, x_t, t, s, noise):
        mean, std = self.moments(denoise(x_t, t), x_t, t, s)
        return mean + std * noise() if self.eta else mean

    def kernel(self, x_0, x_t, t, s):
        return self.moments(x_0, x_t, t, s) if self.eta else super().kernel(x_0, x_t, t, s)

    def moments(self, x_0, x_t, t, s):
        a_t, a_s, v_t, v_s = self.sde.alpha(t), self.sde.alpha(s), self.sde.sigma(t) ** 2, self.sde.sigma(s) ** 2
        eps = (x_t - a_t.to(x_t) * x_0) / v_t.sqrt().to(x_t)
        v = self.eta**2 * (v_t - (a_t / a_s) ** 2 * v_s) * v_s / v_t
        return a_s.to(x_t) * x_0 + (v_s - v).sqrt().to(x_t) * eps, v.sqrt().to(x_t)
