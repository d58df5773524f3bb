"""Heun's method on the probability-flow ODE in noise-to-signal time, plain and with churn."""

import math

from .base import Sampler


class Heun(Sampler):
    """Second order, two evaluations a step.

    With y = x / alpha and r = sigma / alpha every SDE has the same ODE, `dy/dr = (y - x_0_hat) / r`; Heun's step is its
    trapezoidal rule with an Euler predictor. Karras et al. 2022, arXiv:2206.00364, algorithm 1 with the grid of
    equation 5.
    """

    def step(self, denoise, x_t, t, s, noise):
        a_t, a_s, r_t, r_s = (f(u).to(x_t) for f in (self.sde.alpha, self.sde.ratio) for u in (t, s))
        y_t = x_t / a_t
        slope = (y_t - denoise(x_t, t)) / r_t
        y_s = y_t + (r_s - r_t) * slope
        slope_s = (y_s - denoise(a_s * y_s, s)) / r_s
        return a_s * (y_t + (r_s - r_t) * (slope + slope_s) / 2)


class StochasticHeun(Sampler):
    """Noise is added up to a ratio `(1 + churn) r_t`, then a step of Heun's method goes from there to s.

    `churn` is gamma of the source, at most sqrt(2) - 1 (its S_churn over the number of steps); it acts at ratios in
    `between`; `excess` multiplies the new noise's standard deviation. Karras et al. 2022, arXiv:2206.00364, algorithm 2.
    """

    def __init__(self, sde, churn: float = 0.4, between: tuple[float, float] = (0.05, 50.0), excess: float = 1.0):
        super().__init__(sde)
        if not 0 <= churn <= math.sqrt(2) - 1:
            raise ValueError(f"churn = {churn}; expected 0 to {math.sqrt(2) - 1:.4f}")
        self.heun, self.churn, self.between, self.excess = Heun(sde), churn, between, excess

    def step(self, denoise, x_t, t, s, noise):
        r = self.sde.ratio(t)
        inside = (r >= self.between[0]) & (r <= self.between[1])
        higher = self.sde.time(r * (1 + self.churn * inside))  # at most 1
        more = (self.sde.ratio(higher) ** 2 - r**2).clamp(min=0).sqrt()
        scale = self.sde.alpha(higher)
        x = (scale / self.sde.alpha(t)).to(x_t) * x_t + (self.excess * scale * more).to(x_t) * noise()
        return self.heun.step(denoise, x, higher, s, noise)
