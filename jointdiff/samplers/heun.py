"""Heun's method on the probability-flow ODE in noise-to-signal time, plain and with churn."""

import math

import torch

from .base import Sampler


class Heun(Sampler):
    """Second order, two evaluations a step.

    With y = x / alpha and r = sigma / alpha every SDE has the same ODE, `dy/dr = (y - x_0_hat) / r`; Heun's step is its
    trapezoidal rule with an Euler predictor. Karras et al. 2022, arXiv:2206.00364, algorithm 1 with the grid of
    equation 5.
    """

    def step(self, denoise, x_t, t, s, noise):
        times = torch.stack(torch.broadcast_tensors(t, s))
        alpha = self.sde.alpha(times)
        (a_t, a_s), (r_t, r_s) = alpha.to(x_t), (self.sde.sigma(times) / alpha).to(x_t)
        y_t = x_t / a_t
        x_0 = denoise(x_t, t)
        y_s = torch.lerp(x_0, y_t, r_s / r_t)  # Euler's step
        x_0 = torch.lerp(x_0, denoise(a_s * y_s, s), 0.5)
        return a_s * torch.addcmul(y_t, y_s - x_0, 1 - r_t / r_s)  # the mean of both slopes is (y_s - x_0) / r_s


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
