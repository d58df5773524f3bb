"""Pictures: grey or RGB, resized to the grid."""

import os

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
import torch.nn.functional as F


class Image:
    """Raw form: uint8 `(N, h, w)` for mode "L", `(N, h, w, 3)` for "RGB", of any size; decoded at the grid's size.

    A picture of another shape than the grid is scaled until it covers the grid, then its centre is cut out. Scaling is
    antialiased. Pixel 0 becomes -1 and 255 becomes 1.
    """

    rate = None

    def __init__(self, grid: tuple[int, int], mode: str = "L"):
        if mode not in ("L", "RGB"):
            raise ValueError(f"image mode {mode!r} is unknown; expected 'L' (grey) or 'RGB'")
        self.grid, self.mode = tuple(grid), mode
        self.channels = 1 if mode == "L" else 3

    def encode(self, raw: np.ndarray) -> torch.Tensor:
        raw = np.asarray(raw)
        expected = "(N, h, w)" if self.mode == "L" else "(N, h, w, 3)"
        if raw.dtype != np.uint8 or raw.ndim != (3 if self.mode == "L" else 4) or (raw.ndim == 4 and raw.shape[3] != 3):
            raise ValueError(f"a picture of mode {self.mode!r} is uint8 {expected}, got {raw.dtype} {raw.shape}")
        x = torch.tensor(raw)
        x = x[:, None] if self.mode == "L" else x.permute(0, 3, 1, 2)
        return (
            torch.cat([cover(part.float() / 127.5 - 1, self.grid).clamp(-1, 1) for part in x.split(4096)])
            if len(x)
            else x.reshape(0, self.channels, *self.grid).float()
        )

    def decode(self, channels: torch.Tensor) -> np.ndarray:
        x = to_uint8(channels)
        return x[:, 0] if self.mode == "L" else x.transpose(0, 2, 3, 1)

    def read(self, argument) -> np.ndarray:
        """A picture of any mode (palette, alpha on white, 16 bit, with its EXIF rotation applied): a file's path, a PIL
        picture, or an array, uint8 `(h, w)` or `(h, w, 3 or 4)`.
        """
        if isinstance(argument, np.ndarray):
            if (
                argument.dtype != np.uint8
                or argument.ndim not in (2, 3)
                or argument.ndim == 3
                and argument.shape[2] not in (3, 4)
            ):
                raise ValueError(f"a picture is uint8 (h, w) or (h, w, 3), got {argument.dtype} {argument.shape}")
            argument = PIL.Image.fromarray(argument)
        if isinstance(argument, PIL.Image.Image):
            return self.convert(argument)[None]
        if not isinstance(argument, str | os.PathLike):
            raise ValueError(
                f"expected the path of a picture, a PIL picture or an array, got {type(argument).__name__}"
            )
        argument = os.fspath(argument)
        try:
            with PIL.Image.open(argument) as file:
                file.load()
                return self.convert(file)[None]
        except FileNotFoundError:
            raise ValueError(f"no picture at {argument!r}") from None
        except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ValueError(f"{argument!r} is not a picture that can be read: {error}") from None

    def convert(self, picture: PIL.Image.Image) -> np.ndarray:
        """A PIL picture of any mode to uint8 `(h, w)` or `(h, w, 3)`."""
        picture = PIL.ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I") or picture.mode == "F":
            values = np.asarray(picture, dtype=np.float64)
            top = 65535 if picture.mode.startswith("I") and values.max(initial=0) > 255 else 255
            picture = PIL.Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
        return np.asarray(picture.convert(self.mode))

    def picture(self, channels: torch.Tensor) -> np.ndarray:
        return to_uint8(channels).transpose(0, 2, 3, 1) + np.zeros((1, 1, 1, 3), np.uint8)


def cover(x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """`(N, C, h, w)` scaled, antialiased, until it covers the grid, and its centre cut out."""
    (h, w), (height, width) = x.shape[-2:], grid
    if (h, w) != tuple(grid):
        scale = max(height / h, width / w)
        size = max(height, round(h * scale)), max(width, round(w * scale))
        x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        x = x[..., top : top + height, left : left + width]
    return x


def to_uint8(channels: torch.Tensor) -> np.ndarray:
    """[-1, 1] to 0 ... 255, rounded."""
    return ((channels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
