"""Networks `f(x, noise_levels)`: `(B, C, H, W)` and `(B, M)` in, `(B, C, H, W)` out. They know nothing of diffusion."""

from .mlp import MLP
from .unet import UNet

BACKBONES = {"unet": UNet, "mlp": MLP}
