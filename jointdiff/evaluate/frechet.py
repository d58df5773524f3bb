"""Frechet distance and variety, in the features of a judge.

The judge's last features, averaged over the grid, stand where Inception's do for photographs: distances compare samplers
of one model, not models of different data. Heusel et al. 2017, arXiv:1706.08500, equation 6.
"""

import torch


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of two sets of features `(N, n)`; larger for few of them."""
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0)
    trace = cov_a.trace() + cov_b.trace() - 2 * values.sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + trace)


def variety(a: torch.Tensor, labels_a: torch.Tensor, b: torch.Tensor, labels_b: torch.Tensor) -> float:
    """Variance within the classes of features a over that of b; 1 when the samples vary as real data do."""

    def within(x, labels):
        parts = [x[labels == k] for k in labels.unique()]
        return sum((p - p.mean(0)).square().sum() for p in parts) / sum(len(p) - 1 for p in parts)

    return float(within(a, labels_a) / within(b, labels_b))
