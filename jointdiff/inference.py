"""What a model says of values: how noisy they are, how likely, of which class, and what the network makes of them.

Methods of `Model`, whose first argument is the model.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from . import likelihood
from .condition import leave_out
from .samplers.grids import least_loss
from .streams import SampleNoise

LEVELS = (0.02, 5.0, 28)  # lowest, highest and number of the noise levels that `noise_level` compares


def noise_level(model, name: str, value: Any, seed: int = 0) -> torch.Tensor:
    """The standard deviation of the noise in each value of one modality, `(N,)`, by maximum likelihood.

    The likelihood is the network's own, with all else absent; see `likelihood.noise_log_likelihood`. Between 0.02,
    which stands for none, and 5.
    """
    channels = model.encode(name, value)
    y, mask = (v.to(model.device) for v in model.layout.observe({name: channels}, len(channels)))
    low, high, count = LEVELS
    scale = model.layout.scale[name]
    ratios, out = likelihood.levels(model.denoiser.sde, count, low * scale, high * scale), []
    for first in range(0, len(y), 64):
        draw = SampleNoise(seed, len(y[first : first + 64]), model.layout.shape, first, model.device)
        alone = leave_out(model.denoiser, model.denoiser.sde, ~mask, draw())
        log = likelihood.noise_log_likelihood(alone, model.denoiser.sde, y[first : first + 64], mask, ratios, draw)
        best = log.argmax(1)
        out.append(torch.where(best > 0, ratios.to(log)[best] / scale, 0.0).cpu())
    return torch.cat(out).float()


def conditioned(model, given: Mapping[str, torch.Tensor], target: Iterable[str], num: int, draw: Callable):
    """The denoiser of the target's channels with clean `given` and all else absent, for densities; and their mask."""
    y, mask = (v.to(model.device) for v in model.layout.observe(given, num))
    wanted = model.layout.mask(target).to(model.device)
    sde = model.denoiser.sde
    denoise = leave_out(model.denoiser, sde, ~(wanted | mask), draw())
    held = lambda x, t: denoise(torch.where(mask, y, x), torch.where(mask, 0.0, t))
    return (held if given else denoise), wanted


def log_prob(
    model,
    values: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    *,
    probes: int = 1,
    dequantized: bool = False,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> torch.Tensor:
    """log p(values | given) in nats, `(N,)`, with all other modalities absent.

    All modalities as `values` give the joint's density, some the marginal's. By the probability-flow ODE to a
    tolerance, its divergence by Hutchinson's estimate; see `likelihood.log_prob`, and `likelihood.bits` for bits.

    Args:
        values, given: as `encode` takes them; as many of each, or one for all.
        dequantized: add uniform noise as wide as an 8-bit bin first.
    """
    values, given, num = pair(model, values, given)
    x, _ = model.layout.observe(values, num)
    draw = SampleNoise(seed, num, model.layout.shape, 0, model.device)
    denoise, wanted = model.conditioned(given, values, num, draw)
    scale = torch.tensor([list(model.layout.scale.values())])
    width = model.layout.expand(scale).to(model.device)
    x = x.to(model.device)
    x = x + width * likelihood.dequantize(torch.zeros_like(x), draw) if dequantized else x
    # the density of x is that of scale * x, times the scale of every dimension
    change = float(torch.where(wanted, width.log(), 0.0).sum()) * math.prod(model.layout.grid)
    return likelihood.log_prob(denoise, model.denoiser.sde, x, wanted, draw, probes, rtol, atol).cpu() + change


def classify(
    model,
    given: Mapping[str, Any],
    candidates: Mapping[str, list],
    method: str = "likelihood",
    num: int = 16,
    seed: int = 0,
) -> torch.Tensor:
    """p(candidate | given) of equally frequent candidates, `(N, candidates)`.

    Args:
        given: one modality or several, N values each.
        candidates: `{name: list of values}`, of one modality.
        method: "likelihood" compares p(given | candidate) under `num` denoising errors with the same noise for all
            candidates; "sampling" draws the modality `num` times and counts the nearest candidate.
    """
    (name, values), *more = candidates.items()
    if more or name in given:
        raise ValueError("candidates are of one modality that is not given")
    options = model.encode(name, list(values))
    given, _, count = pair(model, given, None)
    if method == "sampling":
        rows = {n: v.repeat_interleave(num, 0) for n, v in given.items()}
        others = [n for n in model.layout.names if n not in (name, *given)]
        drawn = model.sample(rows, count * num, seed, others)[name]
        nearest = torch.cdist(drawn.flatten(1), options.flatten(1)).argmin(1).view(count, num)
        return torch.nn.functional.one_hot(nearest, len(options)).float().mean(1)
    if method != "likelihood":
        raise ValueError(f"unknown method {method!r}; there are likelihood, sampling")
    x = model.layout.observe(given, count)[0].to(model.device)
    logs = []
    for option in options:
        draw = SampleNoise(seed, count, model.layout.shape, 0, model.device)
        denoise, wanted = model.conditioned({name: option}, given, count, draw)
        logs.append(likelihood.relative_log_prob(denoise, model.denoiser.sde, x, wanted, draw, num))
    return torch.stack(logs, 1).softmax(1).cpu()


@torch.no_grad()
def expected(model, values: Mapping[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """The mean of every modality given the values alone, E[x | values], `{name: (N, C_m, H, W)}`, in one evaluation.

    What is given is itself; of the others it is a blurred average of all that fits. Of no values, what there is at all, as one row.
    """
    values, _, count = pair(model, values, None) if values else ({}, None, 1)
    out = []
    for first in range(0, count, 64):
        part = {n: v[first : first + 64] for n, v in values.items()}
        rows = min(64, count - first)
        draw = SampleNoise(seed, rows, model.layout.shape, first, model.device)
        denoise, _ = model.conditioned(part, (), rows, draw)
        with model.denoiser.precision():
            out.append(denoise(draw(), torch.ones(1, 1, 1, 1, dtype=torch.float64, device=model.device)).float().cpu())
    return {n: values.get(n, v) for n, v in model.layout.unpack(torch.cat(out)).items()}


@torch.no_grad()
def errors(model, values: Mapping[str, Any], ratios: Iterable[float], given: Iterable[str] = (), seed: int = 0):
    """How far estimates are off, by the noise in what the network sees: `{name: (K,)}` mean squares over rows, channels, pixels.

    The values of all modalities enter with one noise at each of the K noise-to-signal ratios, the same for all ratios, but for
    what is given, which is clean, and has no error.
    """
    layout, sde = model.layout, model.denoiser.sde
    x_0 = layout.pack({n: model.encode(n, v) for n, v in values.items()}).to(model.device)
    times = sde.time(torch.as_tensor(list(ratios), dtype=torch.float64)).to(model.device)
    mask, out = layout.mask(given).to(model.device), []
    for time in times:
        t = torch.where(mask, 0.0, time)
        squares = torch.zeros(len(layout.names), dtype=torch.float64)
        for first in range(0, len(x_0), 64):
            part = x_0[first : first + 64]
            draw = SampleNoise(seed, len(part), layout.shape, first, model.device)
            x_t = sde.alpha(t).to(part) * part + sde.sigma(t).to(part) * draw()
            with model.denoiser.precision():
                off = layout.unpack((model.denoiser(torch.where(mask, part, x_t), t) - part).float().cpu())
            squares += torch.stack([v.double().square().mean((1, 2, 3)).sum() for v in off.values()])
        out.append(squares / len(x_0))
    return dict(zip(layout.names, torch.stack(out, 1)))


def grid(
    model,
    values: Mapping[str, Any],
    steps: int,
    given: Iterable[str] = (),
    lowest: float = 0.5,
    seed: int = 0,
) -> tuple[float, ...]:
    """The noise-to-signal ratios, after the beginning, of the `steps` steps that lose least, for `sample(grid=...)`.

    For few steps, 2 to 8: on the usual grids those are too far apart where what is drawn is decided. See
    `samplers.grids.least_loss`.

    Args:
        values: of all modalities, training rows, some 64 of them.
        given: the modalities that will be given.
        lowest: the ratio below which detail does not count; it is left to the last estimate.
    """
    sde, layout = model.denoiser.sde, model.layout
    high = float(sde.ratio(torch.tensor(1.0, dtype=torch.float64)))
    if steps < 2 or not 0 < lowest < high:
        raise ValueError(
            f"steps = {steps}, lowest = {lowest}; expected 2 at least, and a ratio between 0 and {high:.3g}"
        )
    ratios = torch.logspace(math.log10(high), math.log10(lowest), 65, dtype=torch.float64)
    size = {n: math.prod(layout.grid) * layout.channels[n] * layout.scale[n] ** 2 for n in layout.names}
    off = sum(size[n] * v for n, v in errors(model, values, ratios[:-1], given, seed).items())
    chosen = least_loss(ratios, torch.cat([off, off[-1:]]), steps)
    return tuple(float(f"{r:.3g}") for r in chosen[1:])


@torch.no_grad()
def maps(model, values: Mapping[str, Any], noise: float = 0.0, seed: int = 0) -> dict[str, torch.Tensor]:
    """The means over the grid of the U-Net's levels, `{"down 0": (N, D), ..., "up 0": (N, D)}`, in the order they are made in.

    The values, of one modality or several, enter with noise of this standard deviation, in units of the channels, which the network
    knows of; all else is absent. ValueError for a network without levels.
    """
    network, sde, layout = model.denoiser.network, model.denoiser.sde, model.layout
    if not hasattr(network, "levels"):
        raise ValueError(f"{type(network).__name__} has no levels to look into; the U-Net has")
    values, _, count = pair(model, values, None)
    depths, seen, handles = network.levels(), {}, []
    keep = lambda name: lambda module, given, out: seen.setdefault(name, []).append(out.float().mean((2, 3)).cpu())
    scale = layout.expand(torch.tensor([list(layout.scale.values())]))
    y, mask = (v.to(model.device) for v in layout.observe(values, count))
    known = sde.time(noise * scale.double()) if noise else torch.zeros_like(scale, dtype=torch.float64)
    t = torch.where(mask, known.to(model.device), 1.0)
    alpha, sigma = torch.where(mask, sde.alpha(t), 0.0).float(), sde.sigma(t).float()
    own = (
        5,
        *(layout.names.index(layout.where(n)[0]) for n in values),
    )  # no two modalities' rows are alike by sharing their noise
    try:
        handles += [module.register_forward_hook(keep(name)) for name, module in depths.items()]
        for first in range(0, count, 64):
            part = y[first : first + 64]
            draw = SampleNoise(seed, len(part), layout.shape, first, model.device, own)
            with model.denoiser.precision():
                model.denoiser(alpha * part + sigma * draw(), t)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(seen[name]) for name in depths}


def embed(model, values: Mapping[str, Any], seed: int = 0) -> torch.Tensor:
    """What the network makes of values as a whole, `(N, D)`: the mean over the grid of its lowest level on the way up, where
    modalities meet. The values, of one modality or several, enter clean and all else absent. See `maps`.
    """
    found = maps(model, values, seed=seed)
    return found[f"up {len(found) // 2 - 1}"]


def pair(model, values, given):
    """Both encoded, and the number of rows."""
    values = {n: model.encode(n, v) for n, v in values.items()}
    given = {n: model.encode(n, v) for n, v in (given or {}).items()}
    overlap = sorted(set(values) & set(given))
    if overlap or not values:
        raise ValueError(f"{', '.join(overlap)} stands on both sides" if overlap else "no values were named")
    count = max(len(v) for v in (*values.values(), *given.values()))
    expand = lambda v: v.expand(count, -1, -1, -1)
    return {n: expand(v) for n, v in values.items()}, {n: expand(v) for n, v in given.items()}, count
