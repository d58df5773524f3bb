"""Random streams: every draw of the package comes from a generator named by a few integers.

A stream is a pure function of its name, such as `(seed, step)` in training or `(seed, index of the sample)` in
sampling. Nothing has to be saved to resume a run, and sample 3 of seed 7 is the same in every batch.
All draws are made on the CPU, so they are the same on every device; training's noise alone is drawn where it is added.
"""

import numpy as np
import torch


def stream(*name: int) -> torch.Generator:
    """The CPU generator named by `name`, non-negative integers. Different names give independent streams."""
    state = np.random.SeedSequence([int(n) for n in name]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


class SampleNoise:
    """Standard normal noise for a batch in which every sample has a stream of its own.

    `noise()` returns a fresh `(B, *shape)` tensor; row i depends on `(seed, first + i, *more)` and on how many draws came
    before, never on B or on the device.
    """

    def __init__(self, seed: int, batch: int, shape: tuple, first: int = 0, device="cpu", more: tuple = ()):
        self.generators = [stream(seed, first + i, *more) for i in range(batch)]
        self.shape, self.device = tuple(shape), device

    def __call__(self) -> torch.Tensor:
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
