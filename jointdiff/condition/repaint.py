"""RePaint: replacement with time travel."""

from .replace import Replace


class RePaint:
    """After every `jump` steps of replacement, noise is added back and they are taken again, `times` times in all.

    From s the sample returns to t by the forward process, `x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t /
    alpha_s)^2 sigma_s^2) z`. The repeats let the channels agree; it costs `times` as many evaluations. **Biased**: what it
    converges to for many repeats is nearer to, but not, p(x_0 | y), and its spread within a class comes out too small.
    Lugmayr et al. 2022, arXiv:2201.09865, algorithm 1 and appendix B (jump length).
    """

    def __init__(self, sde, y, mask, jump: int = 1, times: int = 10):
        if jump < 1 or times < 1:
            raise ValueError(f"jump = {jump}, times = {times}; expected at least 1 each")
        self.sde, self.y, self.mask = sde, y, mask
        self.replace, self.jump, self.times = Replace(sde, y, mask), jump, times

    def wrap(self, sampler, denoise):
        replaced, first = self.replace.wrap(sampler, denoise)
        taken = []

        def step(_, x_t, t, s, noise):
            taken.append((t, s))
            x = first(denoise, x_t, t, s, noise)
            if len(taken) < self.jump:
                return x
            for _ in range(self.times - 1):
                x = self.back(x, s, taken[0][0], noise)
                for t, s in taken:
                    x = first(denoise, x, t, s, noise)
            taken.clear()
            return x

        return replaced, step

    def back(self, x_s, s, t, noise):
        """A draw from the forward process at t, from `x_s`."""
        k = self.sde.alpha(t) / self.sde.alpha(s)
        std = (self.sde.sigma(t) ** 2 - k**2 * self.sde.sigma(s) ** 2).clamp(min=0).sqrt()
        return k.to(x_s) * x_s + std.to(x_s) * noise()
