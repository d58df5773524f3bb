"""Layout: the modalities as channels of one tensor.

A modality named `m` takes `C_m` channels of a shared `H x W` grid. Stacking them in a fixed order gives one tensor
`x` of shape `(B, C, H, W)` with `C = sum_m C_m`. What is given, generated or left out is a mask over channels.

A modality may be scaled inside the tensor: twice as large, it shows at twice the noise what it showed before. So what is
decided at low noise (a photograph's shapes) and what is decided at high noise (a word) can be decided at the same time,
which they have to be where one time is for all. Chen 2023, arXiv:2301.10972, section 2.2, where it is one factor for all.
"""

import math
from collections.abc import Iterable, Mapping

import torch


class Layout:
    """Names and numbers of channels, in order, on an `H x W` grid.

    `channels` maps each modality's name to its number of channels, `scale` to its factor (1 when not named).
    `index[c]` is the modality of channel c.
    """

    def __init__(self, channels: Mapping[str, int], grid: tuple[int, int], scale: Mapping[str, float] | None = None):
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
        self.grid = tuple(grid)
        self.names = tuple(self.channels)
        self.index = torch.repeat_interleave(torch.arange(len(self.names)), torch.tensor(list(channels.values())))
        ends = torch.tensor(list(channels.values())).cumsum(0).tolist()
        self.slices = {n: slice(e - c, e) for (n, c), e in zip(self.channels.items(), ends)}

    def __repr__(self) -> str:
        scaled = [f" x {self.scale[n]:g}" if self.scale[n] != 1 else "" for n in self.names]
        parts = ", ".join(f"{n}: {self.channels[n]}{s}" for n, s in zip(self.names, scaled))
        return f"Layout({parts}; {self.grid[0]} x {self.grid[1]})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one joint sample."""
        return (len(self.index), *self.grid)

    def check(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names as a tuple; ValueError when one is not a modality of this layout."""
        names = tuple(names)
        for name in names:
            if name not in self.channels:
                raise ValueError(f"unknown modality {name!r}; this model has {', '.join(self.names)}")
        return names

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
        """`(1, C, 1, 1)` bool, True on the channels of the named modalities."""
        mask = torch.zeros(1, len(self.index), 1, 1, dtype=torch.bool)
        for name in self.check(names):
            mask[:, self.slices[name]] = True
        return mask

    def observe(self, given: Mapping[str, torch.Tensor], batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Observed values `y` `(batch, C, H, W)`, zero where nothing is given, and their mask `(1, C, 1, 1)`."""
        y = torch.zeros(batch, *self.shape)
        for name in self.check(given):
            y[:, self.slices[name]] = given[name] * self.scale[name]
        return y, self.mask(given)

    def expand(self, values: torch.Tensor) -> torch.Tensor:
        """One value a modality, `(B, M)`, to one a channel, `(B, C, 1, 1)`."""
        return values[:, self.index.to(values.device)][:, :, None, None]
