"""Stochastic differential equations that turn data into noise.

Forward, for every channel with a time t in [0, 1] of its own:

    x_t = alpha(t) x_0 + sigma(t) eps,   eps ~ N(0, 1)
    dx  = f(t) x dt + g(t) dw,   f = alpha'/alpha,   g^2 = (sigma^2)' - 2 f sigma^2

so an SDE is two functions, `alpha` and `sigma`, and the inverse of their ratio. The noise-to-signal ratio
`ratio(t) = sigma(t) / alpha(t)` grows with t; it is the noise's standard deviation in the data's own units.

Sources: Song et al. 2021, arXiv:2011.13456 (VP, sub-VP, VE, section 3.4 and appendix C);
Karras et al. 2022, arXiv:2206.00364 (the ratio as the natural time, equation 4 and table 1).
"""

import abc
import math

import torch


class SDE(abc.ABC):
    """`alpha(t)`, `sigma(t)` and `time(ratio)`; everything else is derived. t in [0, 1], any broadcastable shape."""

    @abc.abstractmethod
    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        """The signal's factor at time t."""

    @abc.abstractmethod
    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """The noise's standard deviation at time t."""

    @abc.abstractmethod
    def time(self, ratio: torch.Tensor) -> torch.Tensor:
        """The time at which sigma / alpha is `ratio`, clamped to [0, 1]."""

    def ratio(self, t: torch.Tensor) -> torch.Tensor:
        """sigma(t) / alpha(t): the noise's standard deviation when the signal has factor 1."""
        return self.sigma(t) / self.alpha(t)

    def drift_diffusion(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`f(t)` and `g(t)^2` of `dx = f x dt + g dw`, by differentiating `alpha` and `sigma`."""
        with torch.enable_grad():
            t = t.detach().double().requires_grad_()
            log_alpha, variance = self.alpha(t).log(), self.sigma(t).square()
            f = _derivative(log_alpha, t)
            dv = _derivative(variance, t)
        return f, dv - 2 * f * variance.detach()


def _derivative(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    if not y.requires_grad:  # constant in t
        return torch.zeros_like(t).detach()
    return torch.autograd.grad(y.sum(), t, allow_unused=True, materialize_grads=True)[0].detach()


class VP(SDE):
    """Variance preserving: alpha^2 + sigma^2 = 1, `beta(t) = beta_min + t (beta_max - beta_min)`.

    alpha = exp(-t^2 (beta_max - beta_min) / 4 - t beta_min / 2). Song et al. 2021, arXiv:2011.13456, equation 11.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        self.beta_min, self.beta_max = beta_min, beta_max

    def alpha(self, t):
        return _vp_log_alpha(t, self.beta_min, self.beta_max).exp()

    def sigma(self, t):
        return (-torch.expm1(2 * _vp_log_alpha(t, self.beta_min, self.beta_max))).sqrt()

    def time(self, ratio):
        return _vp_time(-0.5 * torch.log1p(ratio**2), self.beta_min, self.beta_max)


class SubVP(SDE):
    """Sub-VP: alpha as in VP, sigma = 1 - alpha^2. Song et al. 2021, arXiv:2011.13456, equation 29."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        self.beta_min, self.beta_max = beta_min, beta_max

    def alpha(self, t):
        return _vp_log_alpha(t, self.beta_min, self.beta_max).exp()

    def sigma(self, t):
        return -torch.expm1(2 * _vp_log_alpha(t, self.beta_min, self.beta_max))

    def time(self, ratio):
        # (1 - a^2) / a = r, so a = (sqrt(r^2 + 4) - r) / 2 and log a = -asinh(r / 2)
        return _vp_time(-torch.asinh(ratio / 2), self.beta_min, self.beta_max)


class VE(SDE):
    """Variance exploding: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    Song et al. 2021, arXiv:2011.13456, section 3.4. At t = 0 a noise of sigma_min remains.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return self.sigma_min * (t * math.log(self.sigma_max / self.sigma_min)).exp()

    def time(self, ratio):
        t = (ratio / self.sigma_min).clamp(min=1e-30).log() / math.log(self.sigma_max / self.sigma_min)
        return t.clamp(0, 1)


def _vp_log_alpha(t, beta_min, beta_max):
    return -0.25 * t**2 * (beta_max - beta_min) - 0.5 * t * beta_min


def _vp_time(log_alpha, beta_min, beta_max):
    """The root in [0, 1] of `t^2 (beta_max - beta_min) / 4 + t beta_min / 2 + log_alpha = 0`, stable near 0."""
    a, b = 0.25 * (beta_max - beta_min), 0.5 * beta_min
    return (-2 * log_alpha / (b + (b**2 - 4 * a * log_alpha).sqrt())).clamp(0, 1)


SDES = {"vp": VP, "subvp": SubVP, "ve": VE}
