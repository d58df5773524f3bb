"""Vector-Jacobian products of a denoiser, for conditions that follow a gradient."""

from collections.abc import Callable

import torch

from ..types import Denoise


def with_pullback(denoise: Denoise, x_t: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, Callable]:
    """`x_0_hat(x_t, t)` and `v -> J^T v`, J its Jacobian in x_t; a product costs about two evaluations more."""
    with torch.enable_grad():
        x = x_t.detach().requires_grad_()
        x_0 = denoise(x, t)

    def pullback(v):
        return torch.autograd.grad(x_0, x, v, retain_graph=True)[0]

    return x_0.detach(), pullback
