"""Heun's method on the probability-flow ODE in noise-to-signal time."""

from .base import Sampler


class Heun(Sampler):
    """Second order, two evaluations a step.

    With y = x / alpha and r = sigma / alpha every SDE has the same ODE, `dy/dr = (y - x_0_hat) / r`; Heun's step is its
    trapezoidal rule with an Euler predictor. Karras et al. 2022, arXiv:2206.00364, algorithm 1 with the grid of
    equation 5.
    """

    evaluations = 2

    def step(self, denoise, x_t, t, s, noise):
        a_t, a_s, r_t, r_s = (f(u).to(x_t) for f in (self.sde.alpha, self.sde.ratio) for u in (t, s))
        y_t = x_t / a_t
        slope = (y_t - denoise(x_t, t)) / r_t
        y_s = y_t + (r_s - r_t) * slope
        slope_s = (y_s - denoise(a_s * y_s, s)) / r_s
        return a_s * (y_t + (r_s - r_t) * (slope + slope_s) / 2)
