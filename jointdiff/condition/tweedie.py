"""Moment matching: the missing gradient with the posterior covariance that the denoiser itself implies."""

import torch

from .gradient import with_pullback


class Tweedie:
    """p(y | x_t) = N(x_0_hat, C) on the observed channels, with Tweedie's covariance `C = (sigma^2 / alpha) J`:

        x_0_hat + C_.o C_oo^-1 (y - x_0_hat)

    J is the denoiser's Jacobian, o the observed channels. The solve is by conjugate gradients, each iteration one
    vector-Jacobian product. Exact for Gaussian data; **biased** otherwise, as p(x_0 | x_t) is then no Gaussian, and for a
    network also because its Jacobian need not be symmetric. Boys et al. 2023, arXiv:2310.06721; Rozet et al. 2024,
    arXiv:2405.13712, section 4 (conjugate gradients).

    Args:
        iterations: most iterations of a solve; a sample's ends early at a relative residual of `tolerance`.
    """

    def __init__(self, sde, y, mask, iterations: int = 8, tolerance: float = 1e-4):
        self.sde, self.y, self.mask = sde, y, mask
        self.iterations, self.tolerance = iterations, tolerance

    def wrap(self, sampler, denoise):
        def estimate(x, t):
            x_0, covariance = with_pullback(denoise, x, t)  # up to sigma^2 / alpha, which cancels
            gap = torch.where(self.mask, self.y - x_0, 0.0)
            solved = solve(lambda v: torch.where(self.mask, covariance(v), 0.0), gap, self.iterations, self.tolerance)
            return torch.where(self.mask, self.y, x_0 + covariance(solved))

        return estimate, sampler.step


def solve(matrix, b, iterations, tolerance):
    """`matrix^-1 b` by conjugate gradients, `(B, ...)`, row by row; `matrix` maps a tensor to one of its shape."""
    dot = lambda u, v: (u * v).flatten(1).sum(1).view(-1, *[1] * (b.ndim - 1))
    x, residual, direction = torch.zeros_like(b), b, b
    size = first = dot(b, b)
    for _ in range(iterations):
        going = size > tolerance**2 * first
        if not going.any():
            break
        image = matrix(direction)
        curvature = dot(direction, image)
        going &= curvature > 0  # a network's covariance may be indefinite; there the row stops
        step = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        x, residual = x + step * direction, residual - step * image
        after = dot(residual, residual)
        direction = torch.where(going, residual + after / size.clamp(min=1e-30) * direction, direction)
        size = torch.where(going, after, 0.0)
    return x
