"""Denoising score matching with a time of its own for every modality.

For each example a *pattern* of times is drawn, then `x_t = alpha(t) x_0 + sigma(t) eps` and

    L_m = mean over the channels and pixels of m of  w(r_m) |x_0_hat - x_0|^2,   w = (s^2 + r^2) / (r s)^2,

r = sigma / alpha, so that F has a target of unit variance at every noise level (Karras et al. 2022, arXiv:2206.00364,
equation 8 and table 1). Averaging inside a modality first keeps 3 colour channels from drowning 1 grey one.

| pattern | times | loss on |
|---|---|---|
| joint | one for all | all |
| conditional | a random proper subset at 0 (clean), one for the rest | the rest |
| independent | one each | all |
| absent | each modality clean, absent or noisy at random, one absent and one noisy at least | the noisy ones |

What is noisy in the last pattern has one time in half of the examples and one each in the others: so a slightly noisy
condition beside an absent one is known as well. "Absent" is t = 1 with no signal at all; so is a modality that a row of data
does not have. Of a modality that is made of parts, such as a film of frames, some parts are clean in a share of the rows:
from a place to another, half of the time from its beginning on. `joint = 1` is the training of the joint-diffusion paper; a
clean random subset is Bounoua et al. 2023, arXiv:2306.04445; a time each is UniDiffuser, Bao et al. 2023, arXiv:2303.06555.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import torch

from .denoiser import Denoiser

PATTERNS = ("joint", "conditional", "independent", "absent")
MOST = 16  # modalities whose subsets are drawn by weights


@dataclasses.dataclass(frozen=True)
class Times:
    """One batch's draw: `ratio` (B, M) noise-to-signal, and `target`, `absent` (B, M) bool. Clean is ratio 0.

    `known` (B, P) bool, where there is one, says which parts are clean although their modality is noisy or absent.
    """

    ratio: torch.Tensor
    target: torch.Tensor
    absent: torch.Tensor
    pattern: torch.Tensor
    known: torch.Tensor | None = None

    def __getitem__(self, rows: slice | torch.Tensor) -> "Times":
        known = None if self.known is None else self.known[rows]
        return Times(self.ratio[rows], self.target[rows], self.absent[rows], self.pattern[rows], known)


class TimePatterns:
    """Draws the times of a batch.

    `probability` maps pattern names to weights. `log_ratio` maps them to (mean, standard deviation) of the log of the
    noise-to-signal ratio. Levels are stratified over the batch: row by row they are log-normal, and together they cover
    the distribution evenly, which lowers the gradient's variance.

    `given`, when there is one, says how the subset of `conditional` is drawn: its size k first, as often as 1 / k, and of those of
    that size by weights, `{frozenset of modalities' places: weight}`, 1 when not named; when None, all subsets are drawn as
    often. What is hard to read is learned only where nothing easier gives it away, and of many modalities few subsets are so.
    In half of `absent` too such a set is what is clean then, with the others absent or noisy.

    `parts` are the modalities' numbers of parts, and `known_parts` how often some are clean of a modality that has several.
    """

    def __init__(
        self,
        probability: Mapping[str, float],
        log_ratio: Mapping[str, tuple[float, float]],
        given: Mapping[frozenset, float] | None = None,
        parts: tuple[int, ...] = (),
        known_parts: float = 0.0,
    ):
        self.parts, self.known_parts = parts, known_parts
        for name in (*probability, *log_ratio):
            if name not in PATTERNS:
                raise ValueError(f"unknown time pattern {name!r}; there are {', '.join(PATTERNS)}")
        weights = torch.tensor([float(probability.get(p, 0.0)) for p in PATTERNS])
        if (weights < 0).any() or weights.sum() <= 0:
            raise ValueError(f"pattern probabilities must be non-negative and not all 0, got {dict(probability)}")
        self.probability = weights / weights.sum()
        for i, p in enumerate(PATTERNS):
            if weights[i] > 0 and p not in log_ratio:
                raise ValueError(f"pattern {p!r} has no log_ratio = (mean, standard deviation)")
        self.given = given
        self.log_ratio = torch.tensor([log_ratio.get(p, (0.0, 1.0)) for p in PATTERNS])

    def draw(
        self, batch: int, modalities: int, generator: torch.Generator, present=None, rows: slice = slice(None)
    ) -> Times:
        """Times for `(batch, modalities)`, or some `rows` of them.

        `present` (rows, M) bool says what a row of data has (all of it when None).
        """
        pattern = torch.multinomial(self.probability, batch, replacement=True, generator=generator)
        if modalities == 1:  # nothing to be clean or absent for
            pattern = torch.zeros_like(pattern)
        joint, conditional, independent, absent = (pattern == i for i in range(len(PATTERNS)))

        subset = _proper_subset if self.given is None else functools.partial(_by_size, given=self.given)
        clean_set = subset(batch, modalities, generator)
        role = torch.randint(4, (batch, modalities), generator=generator)  # 0 clean, 1 absent, others noisy
        forced = torch.rand(batch, modalities, generator=generator).argsort(1)[:, :2]
        if modalities > 1:
            role.scatter_(1, forced, torch.tensor([1, 2]).expand(batch, 2))
        if self.given is not None:  # half of what has something absent gives such a set as well
            role = torch.where(_half_of(clean_set, generator)[:, None], _roles_beside(clean_set, generator), role)
        clean = (clean_set & conditional[:, None]) | ((role == 0) & absent[:, None])
        missing = (role == 1) & absent[:, None]

        level = _stratified_normal(batch, modalities, generator)
        own = independent | absent & (torch.rand(batch, generator=generator) < 0.5)
        level = torch.where(own[:, None], level, level[:, :1])
        mean, std = self.log_ratio[pattern].unbind(1)
        ratio = (mean[:, None] + std[:, None] * level).exp()
        clean, missing, ratio = clean[rows], missing[rows], ratio[rows]
        missing = missing if present is None else missing | ~present.bool()
        ratio = torch.where(clean & ~missing, 0.0, ratio)
        known = None
        if max(self.parts, default=1) > 1:
            known = _ranges(batch, self.parts, self.known_parts, generator)[rows]
            there = torch.ones_like(missing) if present is None else present.bool()
            known &= there.repeat_interleave(torch.tensor(self.parts), 1)
        return Times(ratio, ~clean & ~missing, missing, pattern[rows], known)


def _proper_subset(batch, modalities, generator):
    """A uniform subset that is neither empty nor everything, (B, M) bool, for M > 1."""
    if modalities == 1:
        return torch.zeros(batch, 1, dtype=torch.bool)
    code = torch.randint(1, 2**modalities - 1, (batch,), generator=generator)
    return (code[:, None] >> torch.arange(modalities)) & 1 == 1


def _by_size(batch, modalities, generator, given):
    """A proper subset of size k as often as 1 / k, and of those of that size by the weights `given`, (B, M) bool."""
    if modalities == 1:
        return torch.zeros(batch, 1, dtype=torch.bool)
    if modalities > MOST:
        raise ValueError(
            f"{modalities} modalities have too many sets to weigh; up to {MOST} can be: leave config.loss.given empty"
        )
    code = torch.arange(1, 2**modalities - 1)
    member = (code[:, None] >> torch.arange(modalities)) & 1 == 1
    weight = torch.ones(len(code), dtype=torch.float64)
    for places, value in given.items():
        own = sum(1 << place for place in places) - 1
        if own < len(code):  # the set of all is no proper subset
            weight[own] = value
    size = member.sum(1)
    for k in range(1, modalities):
        weight[size == k] /= k * weight[size == k].sum().clamp(min=1e-12)
    return member[torch.multinomial(weight, batch, replacement=True, generator=generator)]


def _half_of(clean_set, generator):
    """A random half of the rows, (B,) bool, but none in which fewer than two modalities are left."""
    return (torch.rand(len(clean_set), generator=generator) < 0.5) & ((~clean_set).sum(1) > 1)


def _roles_beside(clean_set, generator):
    """Roles in which a set is clean (0) and each of the others is absent (1) or noisy (2), one of each at least, (B, M)."""
    role = torch.randint(1, 3, clean_set.shape, generator=generator)
    order = (torch.rand(clean_set.shape, generator=generator) + clean_set).argsort(1)[:, :2]  # two that are not clean
    role.scatter_(1, order, torch.tensor([1, 2]).expand(len(role), 2))
    return torch.where(clean_set, 0, role)


def _ranges(batch, parts, share, generator):
    """Parts that are known, `(B, P)` bool: in a share of the rows, of every modality with several, those of a range."""
    out = []
    for count in parts:
        ends = torch.randint(count + 1, (batch, 2), generator=generator).sort(1).values
        u = torch.rand(batch, 2, generator=generator)
        first, last = torch.where(u[:, 0] < 0.5, 0, ends[:, 0]), ends[:, 1]
        place = torch.arange(count)
        inside = (place >= first[:, None]) & (place < last[:, None]) & (u[:, 1] < share)[:, None]
        out.append(inside & ~inside.all(1, keepdim=True))
    return torch.cat(out, 1)


def _stratified_normal(batch, modalities, generator):
    """Columns of standard normals, each stratified over its rows and in an order of its own."""
    order = torch.rand(batch, modalities, generator=generator).argsort(0)
    u = (order + torch.rand(batch, modalities, generator=generator)) / batch
    return torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))


def noisy(denoiser: Denoiser, x_0: torch.Tensor, times: Times, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`x_t` and t `(B, C, 1, 1)` for clean data, times and standard normal noise."""
    layout, sde = denoiser.layout, denoiser.sde
    t = sde.time(times.ratio.double())
    t = torch.where(times.absent, 1.0, torch.where(times.ratio == 0, 0.0, t))
    t = layout.expand(t).to(x_0.device)
    absent, clean = layout.expand(times.absent).to(x_0.device), layout.expand(times.ratio == 0).to(x_0.device)
    if times.known is not None:
        known = layout.expand_parts(times.known).to(x_0.device)
        absent, clean, t = absent & ~known, clean | known, torch.where(known, 0.0, t)
    alpha, sigma = sde.alpha(t).float(), sde.sigma(t).float()
    x_t = torch.where(absent, 0.0, alpha * x_0) + sigma * eps
    return torch.where(clean & ~absent, x_0, x_t), t


def denoising_loss(
    denoiser: Denoiser, x_0: torch.Tensor, times: Times, eps: torch.Tensor, aim: Callable | None = None
) -> torch.Tensor:
    """The weighted loss of every row and modality, `(B, M)`; 0 where a modality is not a target.

    x_0 and eps are `(B, C, H, W)`; `aim(x_t, t, x_0)`, where there is one, says what the estimate is to be instead of x_0.
    `w |x_0_hat - x_0|^2` is computed as `|F - F*|^2` with the exact output `F* = (x_0 - c - d x_t) / e` (see `Scales`), which
    stays accurate as r goes to 0.
    """
    layout = denoiser.layout
    x_t, t = noisy(denoiser, x_0, times, eps)
    scales = denoiser.scales(t)
    out = denoiser.residual(x_t, scales)
    target = layout.expand(times.target)
    if times.known is not None:
        target = target & ~layout.expand_parts(times.known)
    target = target.to(x_0.device)
    x_0 = x_0 if aim is None else aim(x_t, t, x_0)
    exact = (x_0 - scales.c - scales.d * x_t) / scales.e.clamp(min=1e-8)
    error = torch.where(target, out - exact, 0.0).square().mean(dim=(2, 3))
    return torch.stack([error[:, s].mean(1) for s in layout.slices.values()], dim=1)
