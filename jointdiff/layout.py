"""Layout: the modalities as channels of one tensor.

A modality named `m` takes `C_m` channels of a shared `H x W` grid. Stacking them in a fixed order gives one tensor
`x` of shape `(B, C, H, W)` with `C = sum_m C_m`. What is given, generated or left out is a mask over channels.

A modality may be scaled inside the tensor: twice as large, it shows at twice the noise what it showed before. So what is
decided at low noise (a photograph's shapes) and what is decided at high noise (a word) can be decided at the same time,
which they have to be where one time is for all. Chen 2023, arXiv:2301.10972, section 2.2, where it is one factor for all.

A modality may be made of parts, such as a film of frames: each part has a noise level of its own, so some can be given and the
others drawn. "film[0:3]" names its first three, as slices do in Python. Chen et al. 2024, arXiv:2407.01392 (a time a frame).
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping

import torch


class Layout:
    """Names and numbers of channels, in order, on an `H x W` grid.

    `channels` maps each modality's name to its number of channels, `scale` to its factor and `parts` to its number of parts (1
    when not named). `index[c]` is the modality of channel c, `part[c]` its part, counted over all modalities, and `owner[p]` the
    modality of part p.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        grid: tuple[int, int],
        scale: Mapping[str, float] | None = None,
        parts: Mapping[str, int] | None = None,
    ):
        if not channels:
            raise ValueError("a layout needs at least one modality")
        for name, count in channels.items():
            if count < 1:
                raise ValueError(f"modality {name!r} has {count} channels, expected at least 1")
        self.channels = dict(channels)
        self.scale = {name: float((scale or {}).get(name, 1.0)) for name in channels}
        for name, factor in self.scale.items():
            if not 0 < factor < math.inf:
                raise ValueError(f"modality {name!r} has a scale of {factor}, expected a number above 0")
        self.parts = {name: int((parts or {}).get(name, 1)) for name in channels}
        for name, count in self.parts.items():
            if count < 1 or channels[name] % count:
                raise ValueError(f"modality {name!r} has {channels[name]} channels, which {count} parts do not divide")
        self.grid = tuple(grid)
        self.names = tuple(self.channels)
        self.index = torch.repeat_interleave(torch.arange(len(self.names)), torch.tensor(list(channels.values())))
        ends = torch.tensor(list(channels.values())).cumsum(0).tolist()
        self.slices = {n: slice(e - c, e) for (n, c), e in zip(self.channels.items(), ends)}
        self.owner = torch.repeat_interleave(torch.arange(len(self.names)), torch.tensor(list(self.parts.values())))
        sizes = [self.channels[n] // k for n, k in self.parts.items() for _ in range(k)]
        self.part = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))

    def __repr__(self) -> str:
        scaled = [f" x {self.scale[n]:g}" if self.scale[n] != 1 else "" for n in self.names]
        split = [f" in {self.parts[n]} parts" if self.parts[n] != 1 else "" for n in self.names]
        parts = ", ".join(f"{n}: {self.channels[n]}{s}{p}" for n, s, p in zip(self.names, scaled, split))
        return f"Layout({parts}; {self.grid[0]} x {self.grid[1]})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one joint sample."""
        return (len(self.index), *self.grid)

    def streams(self) -> tuple[tuple[slice, slice], ...]:
        """The channels and the parts of every modality."""
        ends = list(itertools.accumulate(self.parts.values(), initial=0))
        return tuple(zip(self.slices.values(), itertools.starmap(slice, itertools.pairwise(ends))))

    def check(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names as a tuple; ValueError when one is not a modality of this layout."""
        names = tuple(names)
        for name in names:
            if name not in self.channels:
                raise ValueError(f"unknown modality {name!r}; this model has {', '.join(self.names)}")
        return names

    def where(self, key: str) -> tuple[str, range]:
        """The modality and the parts that a key names: "film", all of it, "film[0:3]", "film[-1]"; ValueError for anything else."""
        name, bracket, inside = key.partition("[")
        self.check([name])
        count = self.parts[name]
        if not bracket:
            return name, range(count)
        if count == 1:
            raise ValueError(f"{key!r}: {name!r} is one whole, and has no parts")
        found = re.fullmatch(r"(-?\d*)(:?)(-?\d*)\]", inside)
        try:
            first, colon, last = found.groups()
            chosen = range(count)[slice(*(int(v) if v else None for v in (first, last)))] if colon else None
            chosen = range(count)[int(first) :][:1] if chosen is None else chosen
            inside = all(-count <= int(v) <= count for v in (first, last) if v)
        except (AttributeError, ValueError):
            raise ValueError(f"{key!r} names no parts; expected {name}[FIRST:LAST] or {name}[NUMBER]") from None
        if not chosen or not inside:
            raise ValueError(f"{key!r} names no parts: {name!r} has {count} of them, 0 to {count - 1}")
        return name, chosen

    def place(self, key: str) -> slice:
        """The channels of the joint tensor that a key names."""
        name, chosen = self.where(key)
        size, start = self.channels[name] // self.parts[name], self.slices[name].start
        return slice(start + size * chosen[0], start + size * (chosen[-1] + 1))

    def whole(self, given: Iterable[str], left_out: Iterable[str] = ()) -> tuple[str, ...]:
        """Of the keys that are given those that name a modality as a whole; ValueError where two say something of the same."""
        given, left_out = tuple(given), tuple(left_out)
        for i, key in enumerate(given):
            name, chosen = self.where(key)
            if name in left_out and len(chosen) == self.parts[name]:
                raise ValueError(f"{key} is both given and left out")
            for other in given[:i]:
                if self.where(other)[0] == name and set(self.where(other)[1]) & set(chosen):
                    raise ValueError(f"{other} and {key} are both given, and share a part")
        return tuple(key for key in given if len(self.where(key)[1]) == self.parts[self.where(key)[0]])

    def pack(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """`{name: (B, C_m, H, W)}` of all modalities to `(B, C, H, W)`."""
        self.check(parts)
        missing = [n for n in self.names if n not in parts]
        if missing:
            raise ValueError(f"pack needs every modality; missing: {', '.join(missing)}")
        for name, part in parts.items():
            expected = (self.channels[name], *self.grid)
            if tuple(part.shape[1:]) != expected:
                raise ValueError(
                    f"{name!r} has shape {tuple(part.shape)}, expected (B, {', '.join(map(str, expected))})"
                )
        return torch.cat([parts[n] * self.scale[n] for n in self.names], dim=1)

    def unpack(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """`(B, C, H, W)` to `{name: (B, C_m, H, W)}`."""
        return {n: x[:, s] / self.scale[n] for n, s in self.slices.items()}

    def mask(self, names: Iterable[str]) -> torch.Tensor:
        """`(1, C, 1, 1)` bool, True on the channels of the named modalities, or parts of them."""
        mask = torch.zeros(1, len(self.index), 1, 1, dtype=torch.bool)
        for name in names:
            mask[:, self.place(name)] = True
        return mask

    def observe(self, given: Mapping[str, torch.Tensor], batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Observed values `y` `(batch, C, H, W)`, zero where nothing is given, and their mask `(1, C, 1, 1)`."""
        y = torch.zeros(batch, *self.shape)
        for key in given:
            y[:, self.place(key)] = given[key] * self.scale[self.where(key)[0]]
        return y, self.mask(given)

    def expand(self, values: torch.Tensor) -> torch.Tensor:
        """One value a modality, `(B, M)`, to one a channel, `(B, C, 1, 1)`."""
        return values[:, self.index.to(values.device)][:, :, None, None]

    def expand_parts(self, values: torch.Tensor) -> torch.Tensor:
        """One value a part, `(B, P)`, to one a channel, `(B, C, 1, 1)`."""
        return values[:, self.part.to(values.device)][:, :, None, None]
