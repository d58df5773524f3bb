"""The two callables that everything is made of."""

from collections.abc import Callable

import torch

# (x_t (B, C, H, W), t, float64 that broadcasts to (B, C, 1, 1)) -> E[x_0 | x_t], (B, C, H, W)
Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# () -> fresh standard normal noise, (B, C, H, W)
Noise = Callable[[], torch.Tensor]
