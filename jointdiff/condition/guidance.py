"""Guidance: denoisers that leave something out, and estimates moved beyond what is known towards what agrees better."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..sde import SDE
from ..types import Denoise
from .gradient import with_pullback

SPREAD = (0.7548776662, 0.5698402910)  # steps of a sequence that fills a square evenly (Roberts 2018, R2)
FLOOR = 1e-3  # of a squared error that guidance by reading divides by


def leave_out(denoise: Denoise, sde: SDE, mask: torch.Tensor, eps: torch.Tensor) -> Callable:
    """A denoiser that does not see the channels where `mask` is True: they are noise alone, at t = 1, at every step."""

    def without(x, t):
        return denoise(torch.where(mask, sde.sigma(torch.ones_like(t)).to(x) * eps, x), torch.where(mask, 1.0, t))

    return without


def free_guidance(
    denoise: Denoise, sde: SDE, mask: torch.Tensor, eps: torch.Tensor, weight: float, between=(0.0, 1.0)
) -> Callable:
    """x_0_hat + weight (x_0_hat - x_0_hat without the observed channels), at times t in `between`; weight 0 changes nothing.

    The second estimate leaves out the channels where `mask` is True, which the `absent` pattern of training teaches.
    **Biased** on purpose: it sharpens the conditional and narrows its variety. Ho and Salimans 2022, arXiv:2207.12598,
    equation 6; an interval of times, Kynkaanniemi et al. 2024, arXiv:2404.07724.
    """
    without = leave_out(denoise, sde, mask, eps)

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1]) & ~mask
        if not inside.any():
            return x_0
        return torch.where(inside, x_0 + weight * (x_0 - without(x, t)), x_0)

    return guided


def weaker_guidance(denoise: Denoise, weaker: Denoise, weight: float, between=(0.0, 1.0)) -> Callable:
    """x_0_hat + weight (x_0_hat - that of a weaker model), at times t in `between`: away from the errors that both make.

    The weaker one is smaller or was trained for less time, on the same data. It takes less variety than leaving conditions out.
    Karras et al. 2024, arXiv:2406.02507, equation 3.
    """

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1])
        if not inside.any():
            return x_0
        return torch.where(inside, x_0 + weight * (x_0 - weaker(x, t)), x_0)

    return guided


def joint_guidance(
    denoise: Denoise, sde: SDE, masks: list[torch.Tensor], eps: torch.Tensor, weight: float, between=(0.0, 1.0)
) -> Callable:
    """The same when nothing is given: every modality is moved away from its estimate without all the others.

    x_0_hat + weight (x_0_hat - x_0_hat alone), `masks` `(1, C, 1, 1)` one a modality; an evaluation more for each. So the
    modalities agree more, and vary less. Bao et al. 2023, arXiv:2303.06555, section 3.3.
    """
    alone = [leave_out(denoise, sde, ~mask, eps) for mask in masks]

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1])
        if not inside.any():
            return x_0
        apart = x_0
        for mask, one in zip(masks, alone):
            apart = torch.where(mask, one(x, t), apart)
        return torch.where(inside, x_0 + weight * (x_0 - apart), x_0)

    return guided


class Led(NamedTuple):
    """What is led by reading: `mask` `(1, C, 1, 1)`, True on its channels, how strongly, how its views differ, and the largest
    magnitude that its values can have."""

    mask: torch.Tensor
    weight: float
    shift: int = 0
    mirror: bool = False
    limit: float = math.inf

    def view(self, x: torch.Tensor, number: int) -> torch.Tensor:
        """x with its channels moved by up to `shift` pixels, a way that goes with the number, and mirrored if it is odd."""
        if not self.shift:
            return x
        offsets = [round((2 * (number * step % 1) - 1) * self.shift) for step in SPREAD]
        moved = x.roll(offsets, (2, 3))
        return torch.where(self.mask, moved.flip(3) if self.mirror and number % 2 else moved, x)


def reading_guidance(
    denoise: Denoise,
    reader: Denoise,
    sde: SDE,
    given: list[torch.Tensor],
    drawn: list[Led],
    eps: torch.Tensor,
    between=(0.0, 1.0),
) -> Callable:
    """Moves modalities that are drawn to where the network reads in them what is given, at times t in `between`.

    x_0_hat + (sigma^2 / alpha) grad log q(y | x_t), Bayes' rule with a q that the network itself reads in x_t:

        log q(y | x_t) = -  sum over m given and n drawn of  weight_n  log |y_m - E[y_m | x_t of n alone]|^2

    To draw what a word names is learned late, to read the word in it soon; and a joint network reads data with noise too, so it is
    its own classifier. Each n is read alone, so that none leaves it to the others to agree. With weight half the number of m's
    values q is a normal likelihood of unknown variance, at its best one.

    With a `shift` each evaluation reads another view of n, moved around its edges by up to so many pixels each way and, with
    `mirror`, mirrored every second time. What convinces the reader in one view alone, and nobody else, does not add up over the
    steps; what is there to be seen does. It costs nothing. As augmentations in Crowson et al. 2022, arXiv:2204.08583.

    What is moved is cut to the values that n can have, its `limit`: an estimate beyond them is of nothing that was ever seen,
    and would be read all the same. Static thresholding, Saharia et al. 2022, arXiv:2205.11487, section 2.3.

    **Biased** on purpose, as x_0_hat knows y already: what reads well is preferred to what varies. Costs an evaluation and its
    gradient, about two more, for every n. Classifier guidance, Dhariwal and Nichol 2021, arXiv:2105.05233, equation 14; over the
    residual instead of its square, Chung et al. 2023, arXiv:2209.14687, algorithm 1.

    Args:
        denoise: gives x_0_hat, itself guided or not.
        reader: the network, not guided.
        given: `(1, C, 1, 1)`, one a modality, True on its channels that are observed.
        drawn: what is moved; the rest that is drawn stays as it is.
        eps: standard normal noise, in place of what is left out.
    """
    views = itertools.count()
    alone = [leave_out(reader, sde, ~led.mask, eps) for led in drawn]

    def slope(y, read):
        """The gradient of log q in what is read, for weight 1."""
        out = torch.zeros_like(y)
        for mask in given:
            gap = torch.where(mask, y - read, 0.0)
            out += 2 * gap / (gap.square().sum((1, 2, 3), keepdim=True) + FLOOR)
        return out

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1])
        if not inside.any():
            return x_0
        alpha = sde.alpha(t)
        y, scale = x / alpha.to(x), (sde.sigma(t) ** 2 / alpha).to(x)  # y where it is given, with what noise it has
        number = next(views)
        for led, one in zip(drawn, alone):
            read, pullback = with_pullback(lambda x, t, led=led, one=one: one(led.view(x, number), t), x, t)
            moved = (x_0 + led.weight * scale * pullback(slope(y, read))).clamp(-led.limit, led.limit)
            x_0 = torch.where(inside & led.mask, moved, x_0)
        return x_0

    return guided
