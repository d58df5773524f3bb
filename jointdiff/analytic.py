"""Joints whose every quantity is known: Gaussians and mixtures of Gaussians.

For `p(x_0) = sum_k w_k N(m_k, S_k)` over the flattened joint vector, with diagonal `A = diag(alpha)` and
`D = diag(sigma^2)` that may differ between channels,

    p(x_t) = sum_k w_k N(A m_k, A S_k A + D)
    E[x_0 | x_t] = sum_k p(k | x_t) (m_k + S_k A (A S_k A + D)^-1 (x_t - A m_k))

so denoiser, score, log-density and conditionals are exact, for any times. They are what samplers and conditions are
tested against.
"""

import math

import torch

from .sde import SDE


class Mixture:
    """A mixture of Gaussians over `(C, H, W)`; one component is a Gaussian.

    Args:
        weights (K,), means (K, n), covariances (K, n, n): n = C H W, float64 inside.
        shape: (C, H, W); (n, 1, 1) when not given.
    """

    def __init__(self, weights, means, covariances, shape=None):
        self.means = torch.stack([torch.as_tensor(m, dtype=torch.float64) for m in means])
        self.covariances = torch.stack([torch.as_tensor(c, dtype=torch.float64) for c in covariances])
        weights = torch.as_tensor(weights, dtype=torch.float64)
        self.weights = weights / weights.sum()
        count, n = self.means.shape
        if self.covariances.shape != (count, n, n) or self.weights.shape != (count,):
            raise ValueError(
                f"{count} means of size {n} do not go with covariances {tuple(self.covariances.shape)} "
                f"and weights {tuple(weights.shape)}"
            )
        self.shape = tuple(shape) if shape else (n, 1, 1)

    def noised(self, sde: SDE, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma as vectors `(B or 1, n)` for times that broadcast to `(B, C, H, W)`."""
        t = torch.as_tensor(t, dtype=torch.float64)
        t = t.expand(len(t) if t.ndim else 1, *self.shape).flatten(1)
        return sde.alpha(t), sde.sigma(t)

    def parts(self, x: torch.Tensor, alpha, sigma):
        """Per component: log-density of the flattened x `(B, K)`, and `(A S A + D)^-1 (x - A m)` `(B, K, n)`."""
        cov = alpha[:, None, :, None] * self.covariances * alpha[:, None, None, :]
        cov = cov + torch.diag_embed(sigma**2)[:, None]
        factor = torch.linalg.cholesky(cov)
        gap = x[:, None] - alpha[:, None] * self.means
        if len(factor) == 1:  # all rows at the same times: one solve a component
            whitened = torch.cholesky_solve(gap.permute(1, 2, 0), factor[0]).permute(2, 0, 1)
        else:
            whitened = torch.cholesky_solve(gap[..., None], factor)[..., 0]
        half_log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        n = x.shape[1]
        log = -0.5 * (gap * whitened).sum(-1) - half_log_det - 0.5 * n * math.log(2 * math.pi)
        return log + self.weights.log(), whitened

    def denoiser(self, sde: SDE):
        """The exact `denoise(x_t, t) -> E[x_0 | x_t]`."""

        def denoise(x_t, t):
            alpha, sigma = self.noised(sde, t)
            log, whitened = self.parts(x_t.double().flatten(1), alpha, sigma)
            update = torch.einsum("kij,bkj->bki", self.covariances, alpha[:, None] * whitened)
            x_0 = (log.softmax(1)[..., None] * (self.means + update)).sum(1)
            return x_0.view(x_t.shape).to(x_t.dtype)

        return denoise

    def log_prob(self, x: torch.Tensor, sde: SDE | None = None, t=0.0) -> torch.Tensor:
        """log p(x_t) in nats, `(B,)`; of the data itself when there is no SDE."""
        x = x.double().flatten(1)
        if sde is None:
            alpha, sigma = (
                torch.ones(1, x.shape[1], dtype=torch.float64),
                torch.zeros(1, x.shape[1], dtype=torch.float64),
            )
        else:
            alpha, sigma = self.noised(sde, t)
        return self.parts(x, alpha, sigma)[0].logsumexp(1)

    def responsibilities(self, x: torch.Tensor) -> torch.Tensor:
        """p(k | x), `(B, K)`."""
        one = torch.ones(1, self.means.shape[1], dtype=torch.float64)
        return self.parts(x.double().flatten(1), one, 0 * one)[0].softmax(1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """`(count, C, H, W)` float64."""
        k = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        factor = torch.linalg.cholesky(self.covariances)
        return (self.means[k] + (factor[k] @ z[..., None])[..., 0]).view(count, *self.shape)

    def conditional(self, observed: torch.Tensor, y: torch.Tensor) -> "Mixture":
        """p(rest | observed = y); `observed` (n,) bool, `y` (observed.sum(),). The rest keeps its order, as (n', 1, 1)."""
        o, r = observed.nonzero()[:, 0], (~observed).nonzero()[:, 0]
        y = torch.as_tensor(y, dtype=torch.float64)
        s_oo, s_ro, s_rr = (
            self.covariances[:, o][:, :, o],
            self.covariances[:, r][:, :, o],
            self.covariances[:, r][:, :, r],
        )
        gain = torch.linalg.solve(s_oo, s_ro.transpose(1, 2)).transpose(1, 2)
        means = self.means[:, r] + (gain @ (y - self.means[:, o])[..., None])[..., 0]
        marginal = Mixture(self.weights, self.means[:, o], s_oo)
        weights = marginal.responsibilities(y[None])[0] if len(o) else self.weights
        return Mixture(weights, means, s_rr - gain @ s_ro.transpose(1, 2))

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean (n,) and covariance (n, n) of the whole mixture."""
        mean = self.weights @ self.means
        gap = self.means - mean
        spread = torch.einsum("k,ki,kj->ij", self.weights, gap, gap)
        return mean, torch.einsum("k,kij->ij", self.weights, self.covariances) + spread


def gaussian(mean, covariance, shape=None) -> Mixture:
    """One Gaussian: mean (n,), covariance (n, n)."""
    return Mixture([1.0], torch.as_tensor(mean)[None], torch.as_tensor(covariance)[None], shape)


def gaussian_kl(mean_p, cov_p, mean_q, cov_q) -> float:
    """KL(p || q) in nats between Gaussians given by mean (n,) and covariance (n, n); infinite when that of q is singular."""
    mean_p, cov_p, mean_q, cov_q = (torch.as_tensor(v, dtype=torch.float64) for v in (mean_p, cov_p, mean_q, cov_q))
    factor, failed = torch.linalg.cholesky_ex(cov_q)
    if failed or factor.diagonal().min() < 1e-7 * cov_q.diagonal().max().sqrt():
        return math.inf
    gap = (mean_q - mean_p)[:, None]
    trace = torch.cholesky_solve(cov_p, factor).trace()
    log = 2 * factor.diagonal().log().sum() - torch.linalg.slogdet(cov_p)[1]
    return float(0.5 * (trace + (gap.T @ torch.cholesky_solve(gap, factor)).squeeze() - len(gap) + log))
