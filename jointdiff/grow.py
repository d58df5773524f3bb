"""A trained model learns a modality more: weights that are taken over by name, and what it knew held fast by itself.

`take_over` copies what belongs to a modality of both networks; what is new starts silent, so that before the first step the
grown network is the old one to the bit. Then a share of the rows is drawn by the old model (`Replay`: no old data are needed), and
for these the old network's estimate at every noise level is what the new one's is to be (`Elder`), instead of the sample itself:
plain replay loses what the old network knew. Masip et al. 2023, arXiv:2311.14028, equation 6.
"""

import pathlib

import torch
from torch import nn
from tqdm import tqdm

from .denoiser import Denoiser
from .files import write_atomically
from .layout import Layout


def shared(layout: Layout, old: Layout) -> tuple[str, ...]:
    """The modalities of both; ValueError when there are none, or when they are not the same in both."""
    names = tuple(n for n in layout.names if n in old.names)
    if not names or layout.grid != old.grid:
        raise ValueError(f"{old!r} has no modality of {layout!r} on the same grid")
    for name in names:
        for what in ("channels", "scale", "parts"):
            mine, theirs = getattr(layout, what)[name], getattr(old, what)[name]
            if mine != theirs:
                raise ValueError(f"{name!r} has {what} {theirs} in the model to start from, and {mine} here")
    return names


def places(layout: Layout, old: Layout, names, of: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Which "channels", or "parts", of both layouts are the same, in order."""
    owner = [l.index if of == "channels" else l.owner for l in (layout, old)]
    find = lambda l, index: torch.cat([(index == l.names.index(n)).nonzero()[:, 0] for n in names])
    return find(layout, owner[0]), find(old, owner[1])


def viewed(network: nn.Module) -> dict[str, tuple[torch.Tensor, int | None, str]]:
    """A network's weights, `{name: (weight, axis, of)}`: those that belong to "channels" or "parts" with an axis of them."""
    own = network.by_channel() if hasattr(network, "by_channel") else {}
    plain = {n: (v.shape, None, "") for n, v in network.state_dict().items()}
    return {n: (network.state_dict()[n].view(shape), *of) for n, (shape, *of) in {**plain, **own}.items()}


@torch.no_grad()
def take_over(network: nn.Module, layout: Layout, other: nn.Module, old: Layout) -> tuple[str, ...]:
    """The other network's weights for all that both have; those of new channels are 0. The new modalities' names."""
    names = shared(layout, old)
    if not hasattr(network, "by_channel") and layout.names != old.names:
        raise ValueError(f"{type(network).__name__} does not say which weights belong to a channel; the U-Net does")
    own, others = viewed(network), viewed(other)
    for name in (*own, *others):
        (mine, axis, of), (theirs, *_) = own.get(name, (None, None, "")), others.get(name, (None, None, ""))
        sizes = lambda v, axis=axis: v if v is None else [n for i, n in enumerate(v.shape) if i != axis]
        if sizes(mine) != sizes(theirs):
            shapes = (v if v is None else tuple(v.shape) for v in (theirs, mine))
            raise ValueError("another network: {} is {} there and {} here".format(name, *shapes))
        if axis is None:
            mine.copy_(theirs)
        else:
            here, there = places(layout, old, names, of)
            mine.zero_().index_copy_(
                axis, here.to(mine.device), theirs.index_select(axis, there.to(theirs.device)).to(mine)
            )
    return tuple(n for n in layout.names if n not in names)


class Elder:
    """The old network as a teacher: what the estimate is to be at x_t, for the rows that it drew."""

    def __init__(self, denoiser: Denoiser, layout: Layout):
        self.denoiser = denoiser.eval().requires_grad_(False)
        names = shared(layout, denoiser.layout)
        self.mine, self.theirs = places(layout, denoiser.layout, names, "channels")

    @torch.no_grad()
    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, x_0: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        """x_0, with the old network's estimate in the rows `taught` `(B,)`, all `(B, C, H, W)`; t `(B, C, 1, 1)`."""
        if not taught.any():
            return x_0
        rows = taught.nonzero()[:, 0]
        count, channels = len(rows), self.denoiser.layout.shape[0]
        seen = x_t.new_zeros(count, channels, *x_t.shape[2:])
        times = t.new_ones(count, channels, 1, 1)  # a modality that only the old network has is absent
        seen[:, self.theirs], times[:, self.theirs] = x_t[rows][:, self.mine], t[rows][:, self.mine]
        out, estimate = x_0.clone(), self.denoiser(seen, times)
        part = out[rows]
        part[:, self.mine] = estimate[:, self.theirs]
        out[rows] = part
        return out


class Replay:
    """Rows of `data`, of which a share is replaced by what the old model drew from nothing; new modalities are missing there."""

    def __init__(self, data, model, share: float, count: int, file: pathlib.Path, seed: int, show=print):
        if not 0 < share < 1 or count < 1:
            raise ValueError(
                f"config.train.replay: a share between 0 and 1 of at least one row, got {share} of {count}"
            )
        self.data, self.share = data, share
        if not file.is_file():
            show(f"drawing {count} rows of {', '.join(model.layout.names)} to replay")
            steps = -(-count // 64) * model.config.sample.steps
            with tqdm(total=steps, desc="replay", unit="step", leave=False, disable=None) as bar:
                samples = model.sample(num=count, seed=seed + 1, on_step=lambda so_far: bar.update())
            drawn = {n: v.clamp(-1, 1).half() for n, v in samples.items()}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda p: torch.save(drawn, p))
        self.drawn = torch.load(file, weights_only=True)

    def __getattr__(self, name):
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def replayed(self, start: int, count: int) -> torch.Tensor:
        """Which of the rows are replayed, `(count,)` bool."""
        place = torch.arange(start, start + count + 1, dtype=torch.float64)
        return (place * self.share).floor().diff() > 0

    def rows(self, start: int, count: int):
        """As those of `data`; a replayed row has no class, and no item in an index."""
        rows, which = self.data.rows(start, count), self.replayed(start, count)
        at = ((torch.arange(start, start + count, dtype=torch.float64) * self.share).floor().long())[which]
        for column, name in enumerate(rows.values):
            there = name in self.drawn
            rows.present[which, column] = there
            rows.index[name][which] = -1
            rows.values[name][which] = self.drawn[name][at % len(self.drawn[name])].float() if there else 0.0
        rows.labels[which] = -1
        return rows
