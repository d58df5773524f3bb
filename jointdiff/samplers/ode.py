"""Dormand and Prince's method with a step size of its own for every row of a batch.

Library solvers control one step size for the whole batch, so that a sample would depend on its neighbours.
"""

from collections.abc import Callable

import torch
from scipy.integrate import RK45

A = [torch.tensor(row[:i]) for i, row in enumerate(RK45.A)]
B, C, E = torch.tensor(RK45.B), torch.tensor(RK45.C), torch.tensor(RK45.E)


def integrate(
    slope: Callable, x: torch.Tensor, rtol: float = 1e-3, atol: float = 1e-3, most: int = 300
) -> torch.Tensor:
    """x at u = 1 of `dx/du = slope(x, u)` from x at u = 0; x is `(B, n)`, u `(B,)`.

    The error of a step, the root mean square of a row's `error / (atol + rtol |x|)`, is kept below 1. Dormand and Prince
    1980; the coefficients are SciPy's. RuntimeError after `most` tried steps.
    """
    batch = len(x)
    u, h = torch.zeros(batch).to(x), torch.full((batch,), 0.1).to(x)
    k_0 = slope(x, u)
    for _ in range(most):
        going = u < 1
        if not going.any():
            return x
        h = torch.minimum(h, 1 - u)
        k = [k_0]
        for a, c in zip(A[1:], C[1:]):
            k.append(slope(x + h[:, None] * sum(w * v for w, v in zip(a.tolist(), k)), u + float(c) * h))
        new = x + h[:, None] * sum(w * v for w, v in zip(B.tolist(), k))
        k.append(slope(new, u + h))
        error = h[:, None] * sum(w * v for w, v in zip(E.tolist(), k))
        scale = atol + rtol * torch.maximum(x.abs(), new.abs())
        size = (error / scale).square().mean(1).sqrt()
        accept = going & (size <= 1)
        x = torch.where(accept[:, None], new, x)
        k_0 = torch.where(accept[:, None], k[-1], k_0)
        u = torch.where(accept, torch.where(h >= 1 - u, 1.0, u + h), u)
        h = torch.where(going, h * (0.9 * size.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0), h)
        h = h.clamp(min=1e-6)
    raise RuntimeError(f"the adaptive solver did not reach its tolerance (rtol {rtol}, atol {atol}) in {most} steps")
