"""What the steps of training are made of: rows, times and noise, prepared ahead by processes of their own where wanted.

Every random draw of step k comes from the stream (seed, k), and row j of the data from (seed, j), so a batch is a pure function of
its step: who prepares it makes no difference to the bit. Noise alone is drawn where it is added: the processors beside a GPU would
be too slow for it.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from . import build, processes
from .data import restored, shifted
from .loss import Times
from .streams import SampleNoise, stream


class Part(NamedTuple):
    """Rows that go through the network together: `x_0` and `eps` `(B, C, H, W)`, and which of them the old model `taught`, `(B,)`.

    `wanted` and `counts` are alignment's: what the rows, and behind them those of `more` as `(x_0, times, eps)`, which are only
    looked at, are to show, K of `(B', D)`, and which of that counts, `(B', K)`.
    """

    x_0: torch.Tensor
    times: Times
    eps: torch.Tensor
    taught: torch.Tensor
    wanted: list[torch.Tensor]
    counts: torch.Tensor
    more: tuple[torch.Tensor, Times, torch.Tensor] | None

    def to(self, device: torch.device) -> "Part":
        """What the network needs, there."""
        here = lambda v: v.to(device, non_blocking=True)
        x_0, times, eps, taught, wanted, counts, more = self
        more = more and (here(more[0]), more[1], here(more[2]))
        return Part(here(x_0), times, here(eps), here(taught), [here(w) for w in wanted], here(counts), more)


class Batch(NamedTuple):
    """A step's: the parts that this process accumulates, and the seed of what is random in the network."""

    parts: list[Part]
    seed: int


def divisible(config) -> None:
    """ValueError where what a step takes cannot be divided among processes and parts."""
    world, parts = processes.world(), config.train.accumulate
    for field, rows in {"train.batch": config.train.batch, "loss.align.rows": config.loss.align.rows}.items():
        if rows % (world * parts):
            raise ValueError(
                f"config.{field} = {rows} is not a multiple of {world} processes x {parts} accumulated parts"
            )


class Batches:
    """`batches[step]` is this process's share of a step; `at(step)` the same, prepared ahead by `config.train.workers`."""

    def __init__(self, config, layout, pairs, teacher=None, device: torch.device | None = None):
        self.gpu = device if device and device.type == "cuda" else None
        self.config, self.layout, self.pairs, self.teacher = config, layout, pairs, teacher
        self.patterns, self.moves = build.patterns(config, layout), build.moves(config)
        self.rank, self.world = processes.rank(), processes.world()
        self.coming: Iterator[Batch] | None = None
        self.next = 0

    def at(self, step: int) -> Batch:
        """The batch of a step. Steps that follow each other are prepared ahead, where there are workers."""
        workers = self.config.train.workers
        if not workers:
            return self.drawn(self[step], step)
        if self.coming is None or step != self.next:
            how = {"num_workers": workers, "collate_fn": _as_it_is, "multiprocessing_context": "fork"}
            loader = DataLoader(self, None, sampler=itertools.count(step), pin_memory=bool(self.gpu), **how)
            self.coming = iter(loader)
        self.next = step + 1
        return self.drawn(next(self.coming), step)

    def drawn(self, batch: Batch, step: int) -> Batch:
        """With the noise that a GPU draws, for all rows of the step, of which this process takes its own."""
        if not self.gpu:
            return batch
        generator = torch.Generator(self.gpu).manual_seed(stream(self.config.seed, 32, step).initial_seed())
        rows = self.config.train.batch, self.config.loss.align.rows
        noise = [torch.randn(n, *self.layout.shape, generator=generator, device=self.gpu) for n in rows]
        eps, seen = (n.chunk(self.world)[self.rank].chunk(len(batch.parts)) if len(n) else None for n in noise)
        parts = [p._replace(eps=e) for p, e in zip(batch.parts, eps)]
        if seen:
            parts = [p._replace(more=(*p.more[:2], e)) for p, e in zip(parts, seen)]
        return Batch(parts, batch.seed)

    def __getitem__(self, step: int) -> Batch:
        # of a batch each process draws its own rows alone; what is drawn for a row does not depend on how many there are
        c, seed = self.config.train, self.config.seed
        share = c.batch // self.world
        own = slice(self.rank * share, (self.rank + 1) * share)
        at = step * c.batch + own.start
        values, present, _, index = self.pairs.rows(at, share)
        generator = stream(seed, 31, step)
        times = self.patterns.draw(c.batch, len(self.layout.names), generator, present, own)
        taught = self.pairs.replayed(at, share) if c.replay.share else torch.zeros(share, dtype=torch.bool)
        x_0 = self.moved(self.layout.pack(values), times, own, c.batch, stream(seed, 33, step))
        eps = torch.empty(share) if self.gpu else SampleNoise(seed, share, self.layout.shape, at, more=(32,))()
        inside = int(torch.randint(2**62, (1,), generator=generator)) + self.rank
        parts, size = [], share // c.accumulate
        for part in range(c.accumulate):
            rows, more = slice(part * size, (part + 1) * size), None
            wanted, counts = (
                self.teacher.wanted(index, times[rows], rows) if self.teacher else ([], torch.zeros(size, 0))
            )
            if self.config.loss.align.rows:
                more, features, count = self.looked(step, part)
                wanted, counts = [torch.cat(f) for f in zip(wanted, features)], torch.cat([counts, count])
            parts.append(Part(x_0[rows], times[rows], eps[rows], taught[rows], wanted, counts, more))
        return Batch(parts, inside)

    def looked(self, step: int, part: int) -> tuple[tuple, list[torch.Tensor], torch.Tensor]:
        """Rows that are only looked at, this process's for a part of its batch: any item alone, and what is to be seen of it."""
        c, rows = self.config, self.config.loss.align.rows
        size = rows // (self.world * c.train.accumulate)
        begin = (self.rank * c.train.accumulate + part) * size
        own = slice(begin, begin + size)
        generator = stream(c.seed, 34, step)
        times = self.teacher.alone(rows, c.loss.log_ratio.absent, generator)[own]
        place, turned = torch.rand(2, rows, generator=generator)[:, own]
        eps = torch.empty(size) if self.gpu else torch.randn(rows, *self.layout.shape, generator=generator)[own]
        values = {n: torch.zeros(size, count, *self.layout.grid) for n, count in self.layout.channels.items()}
        index = {n: torch.full((size,), -1) for n in values}
        for name in self.teacher.names:
            there = ~times.absent[:, self.layout.names.index(name)]
            index[name][there] = (place[there].double() * len(self.pairs.values[name])).long()
            items = restored(self.pairs.values[name][index[name][there]])
            mirrored = (turned[there] < 0.5) & (name in self.pairs.mirrored)
            values[name][there] = torch.where(mirrored[:, None, None, None], items.flip(3), items)
        x_0 = self.moved(self.layout.pack(values), times, own, rows, generator)
        return (x_0, times, eps), *self.teacher.wanted(index, times, slice(None))

    def moved(self, x: torch.Tensor, times: Times, own: slice, of: int, generator: torch.Generator) -> torch.Tensor:
        """`own` rows of so many, whose clean modalities have been moved, by as much as in any other division among processes."""
        for name, by in self.moves.items():
            offsets = torch.randint(2 * by + 1, (2, of), generator=generator)[:, own]
            column, channels = self.layout.names.index(name), self.layout.slices[name]
            clean = (times.ratio[:, column] == 0) & ~times.absent[:, column]
            x[clean, channels] = shifted(x[clean][:, channels], by, offsets[:, clean])
        return x


def _as_it_is(batch: Batch) -> Batch:
    return batch
