"""Langevin dynamics at one time: the corrector of a sampler or of a condition."""

from ..denoiser import score


def langevin(sde, denoise, x, t, noise, snr: float):
    """x + e score + sqrt(2 e) z,   e = 2 alpha (snr sigma)^2.

    The paper's step has the batch's mean |z| / |score| where sigma stands here, which is what that ratio is for pure
    noise: so a sample does not depend on its batch, and the step not on the sample. Biased for a finite step e. Song et
    al. 2021, arXiv:2011.13456, algorithms 4 and 5.
    """
    e = (2 * sde.alpha(t) * (snr * sde.sigma(t)) ** 2).to(x)
    return x + e * score(sde, denoise(x, t), x, t.to(x)) + (2 * e).sqrt() * noise()
