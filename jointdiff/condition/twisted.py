"""Twisted sequential Monte Carlo: particles and weights make guidance exact."""

import math

import torch

from ..samplers import Sampler
from .guide import posterior_variance


class Twisted:
    """K particles a sample, moved by guided steps and weighted for what guidance gets wrong.

    With the twisting function `q(y | x_t) = N(y; x_0_hat, v)`, v as in PiGDM, a particle moves by the sampler's Gaussian
    step with the estimate `x_0_hat + (sigma^2 / alpha) grad log q(y | x_t)`, and its weight is multiplied by

        p(x_s | x_t) q(y | x_s) / (guided p(x_s | x_t) q(y | x_t)).

    Particles are resampled, systematically, when the effective sample size falls below `resample_below` K. One particle
    is returned, drawn by the weights. **Exact** as K grows, for the sampler's discretised process; biased for a finite K.
    Needs a sampler whose step is a Gaussian (ddim with eta > 0, euler_maruyama). Wu et al. 2023, arXiv:2306.17775,
    algorithm 1.

    After a run `log_evidence` `(B,)` is the estimate of log p(y), whose exponential is unbiased, and `ess` `(B, steps)`
    the effective sample sizes.
    """

    needs = ("data_std",)

    def __init__(self, sde, y, mask, particles: int = 16, resample_below: float = 0.5, data_std=1.0):
        if particles < 1:
            raise ValueError(f"particles = {particles}; expected at least 1")
        self.sde, self.y, self.mask, self.data_std = sde, y, mask, data_std
        self.particles, self.resample_below = particles, resample_below

    def wrap(self, sampler: Sampler, denoise):
        return Particles(self, sampler, denoise).closures()


class Particles:
    """The weighted particles of one run; `(B K, C, H, W)` with the K of a sample together."""

    def __init__(self, how: Twisted, sampler: Sampler, denoise):
        self.how, self.sampler, self.denoise = how, sampler, denoise
        self.batch, self.log_weight = None, None
        self.log_evidence, self.ess = 0.0, []

    def closures(self):
        return self.finish, self.step

    def potential(self, x, t):
        """x_0_hat, its guided form, and log q(y | x_t) `(B, K)`."""
        how = self.how
        v = posterior_variance(how.sde, t, how.data_std).to(x).expand(1, x.shape[1], 1, 1)
        y = how.y.repeat_interleave(how.particles, 0) if len(how.y) > 1 else how.y
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x_0 = self.denoise(x, t)
            log = -0.5 * ((y - x_0) ** 2 / v + v.log() + math.log(2 * math.pi))
            log = torch.where(how.mask, log, 0.0).flatten(1).sum(1)
            gradient = torch.autograd.grad(log.sum(), x)[0]
        shift = (how.sde.sigma(t) ** 2 / how.sde.alpha(t)).to(x) * gradient
        return x_0.detach(), (x_0 + shift).detach(), log.detach().view(-1, how.particles)

    def step(self, _, x_t, t, s, noise):
        how, many = self.how, self.how.particles
        draw = lambda: torch.stack([noise() for _ in range(many)], 1).flatten(0, 1)
        if self.batch is None:
            self.batch = len(x_t)
            x_t = how.sde.sigma(t).to(x_t) * draw()
            self.now = self.potential(x_t, t)
            self.log_weight = self.now[2]
        x_t = self.resample(x_t, noise)
        x_0, guided, log_q = self.now
        mean, std = self.sampler.kernel(x_0, x_t, t, s)
        moved, _ = self.sampler.kernel(guided, x_t, t, s)
        z = draw()
        x_s = moved + std * z
        ratio = 0.5 * (z**2 - ((x_s - mean) / std) ** 2).flatten(1).sum(1).view(-1, many)
        self.now = self.potential(x_s, s)
        self.log_weight = self.log_weight + ratio + self.now[2] - log_q
        return x_s

    def resample(self, x, noise):
        """Systematic resampling of the samples whose weights are too uneven."""
        many = self.how.particles
        weight = self.log_weight.softmax(1)
        ess = 1 / weight.square().sum(1)
        self.ess.append(ess)
        poor = ess < self.how.resample_below * many
        points = (uniform(noise)[:, None] + torch.arange(many).to(x)) / many
        chosen = torch.searchsorted(weight.cumsum(1).contiguous(), points.to(weight)).clamp(max=many - 1)
        chosen = torch.where(poor[:, None], chosen, torch.arange(many).to(chosen))
        rows = (chosen + many * torch.arange(self.batch).to(chosen)[:, None]).flatten()
        mean = self.log_weight.logsumexp(1) - math.log(many)
        self.log_evidence = self.log_evidence + torch.where(poor, mean, 0.0)
        self.log_weight = torch.where(poor[:, None], 0.0, self.log_weight)
        x_0, guided, log_q = self.now
        self.now = (x_0[rows], guided[rows], log_q.flatten()[rows].view(-1, many))
        self.noise = noise
        return x[rows]

    def finish(self, x, t):
        """x_0_hat of one particle a sample, drawn by weight."""
        if self.batch is None:  # not one step was taken
            raise ValueError("the twisted condition needs at least 2 steps")
        how = self.how
        how.log_evidence = self.log_evidence + self.log_weight.logsumexp(1) - math.log(how.particles)
        how.ess = torch.stack(self.ess, 1)
        below = self.log_weight.softmax(1).cumsum(1).contiguous()
        chosen = torch.searchsorted(below, uniform(self.noise)[:, None].to(below))[:, 0].clamp(max=how.particles - 1)
        x_0 = self.now[0][chosen + how.particles * torch.arange(self.batch).to(chosen)]
        return torch.where(how.mask, how.y, x_0)


def uniform(noise):
    """A number in [0, 1] a sample, from its own stream."""
    return torch.special.ndtr(noise().flatten(1)[:, 0])
