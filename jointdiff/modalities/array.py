"""Arrays: any aligned channels, each with a scale of its own."""

import os

import numpy as np
import PIL.Image
import PIL.ImageSequence
import torch

from .image import cover


class Array:
    """Raw form: float `(N, k, h, w)` in the data's own units, of any size; decoded at the grid's size, in the same units.

    Channel i is scaled so that `low[i]` becomes -1 and `high[i]` becomes 1, and back; values beyond are kept, not cut.
    Another size than the grid's is scaled, antialiased, until it covers the grid, and its centre cut out.

    Args:
        low, high: a number for all channels, or one a channel; they travel with the config, and so with the weights.
        channels: k.
    """

    rate = None
    exact = True  # stored as floats: 8 bits would be too few

    def __init__(self, grid: tuple[int, int], channels: int = 1, low=-1.0, high=1.0):
        self.grid, self.channels = tuple(grid), channels
        self.low, self.high = (np.broadcast_to(np.asarray(v, dtype=np.float64), (channels,)) for v in (low, high))
        if not (self.high > self.low).all():
            raise ValueError(f"low {self.low.tolist()} must be below high {self.high.tolist()} in every channel")
        span = torch.tensor(self.high - self.low)[:, None, None]
        self.offset, self.span = torch.tensor(self.low)[:, None, None].clone(), span

    def encode(self, raw) -> torch.Tensor:
        x = torch.tensor(np.asarray(raw, dtype=np.float64))
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"an array is (N, {self.channels}, h, w), got {tuple(x.shape)}")
        if not x.isfinite().all():
            raise ValueError("the array holds values that are not finite")
        return cover(((x - self.offset) / self.span * 2 - 1).float(), self.grid)

    def decode(self, channels: torch.Tensor) -> np.ndarray:
        x = (channels.detach().cpu().double() + 1) / 2 * self.span + self.offset
        return x.float().numpy()

    def read(self, argument) -> np.ndarray:
        """`(1, k, h, w)` of a file or an array, which is `(k, h, w)`, or `(h, w)` for one channel.

        Files are npy, npz with one array, and PNG or TIFF of any depth; a TIFF's pages are its channels.
        """
        value = argument if isinstance(argument, np.ndarray) else load(argument)
        if value.ndim == 2:
            value = value[None]
        if value.ndim != 3 or value.shape[0] != self.channels or not np.issubdtype(value.dtype, np.number):
            raise ValueError(f"an array is ({self.channels}, h, w) numbers, got {value.dtype} {value.shape}")
        return value[None].astype(np.float64)

    def picture(self, channels: torch.Tensor) -> np.ndarray:
        """The channels side by side, dark to bright; red, green and blue when there are three."""
        x = ((channels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
        if self.channels == 3:
            return x.transpose(0, 2, 3, 1)
        return np.repeat(np.concatenate(list(x.transpose(1, 0, 2, 3)), axis=2)[..., None], 3, axis=3)


def stacked(pages) -> np.ndarray:
    """Pages `(h, w)` as `(k, h, w)`; ValueError when they differ in size or have colours."""
    pages = list(pages)
    shapes = {page.shape for page in pages}
    if len(shapes) != 1 or pages[0].ndim != 2:
        raise ValueError(f"the pages of a stack must be grey and of one size, got {sorted(shapes)}")
    return np.stack(pages)


def load(path) -> np.ndarray:
    """The array in a file, `(h, w)` or `(k, h, w)`; ValueError that says what is wrong with it."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"expected the path of an array or an array, got {type(path).__name__}")
    path = os.fspath(path)
    try:
        if path.lower().endswith((".npy", ".npz")):
            value = np.load(path, allow_pickle=False)
            if isinstance(value, np.lib.npyio.NpzFile):
                if len(value.files) != 1:
                    raise ValueError(
                        f"{path!r} holds {len(value.files)} arrays ({', '.join(value.files)}); expected one"
                    )
                value = value[value.files[0]]
            return value
        with PIL.Image.open(path) as file:
            if file.format == "TIFF" and getattr(file, "n_frames", 1) > 1:  # a stack: a page a channel
                return stacked(np.asarray(page) for page in PIL.ImageSequence.Iterator(file))
            value = np.asarray(file)
            return value.transpose(2, 0, 1) if value.ndim == 3 else value
    except FileNotFoundError:
        raise ValueError(f"no array at {path!r}") from None
    except (OSError, EOFError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"{path!r} is not an array that can be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be read: {error}") from None
