"""Networks `f(x, noise_levels)`: `(B, C, H, W)` and `(B, M)` in, `(B, C, H, W)` out. They know nothing of diffusion."""

from .late import Late
from .mlp import MLP
from .tokens import Tokens
from .unet import UNet

BACKBONES = {"unet": UNet, "tokens": Tokens, "late": Late, "mlp": MLP}
