"""Replacement with Langevin correctors."""

from ..samplers.langevin import langevin
from .replace import Replace


class Langevin:
    """After every step to s of replacement, `corrections` Langevin steps at s, each beside a fresh `y_s`.

    The corrections draw the other channels from p(x_s | y_s), which becomes p(x_0 | y) as s goes to 0; this repairs most
    of replacement's bias, with `corrections` more evaluations a step. **Biased** for a finite step size and finitely many
    corrections, and between modes that are far apart no correction moves a sample. Song et al. 2021, arXiv:2011.13456,
    algorithms 4 and 5 in the setting of appendix I.2.
    """

    def __init__(self, sde, y, mask, snr: float = 0.5, corrections: int = 1):
        self.sde, self.y, self.mask = sde, y, mask
        self.replace, self.snr, self.corrections = Replace(sde, y, mask), snr, corrections

    def wrap(self, sampler, denoise):
        replaced, first = self.replace.wrap(sampler, denoise)

        def step(_, x_t, t, s, noise):
            x = first(denoise, x_t, t, s, noise)
            for _ in range(self.corrections):
                x = langevin(self.sde, denoise, self.replace.noised(x, s, noise), s, noise, self.snr)
            return x

        return replaced, step
