"""Films: a fixed number of frames, grey or RGB, each a part of the modality that can be given or drawn for itself."""

import io
import os
import pathlib
import re

import numpy as np
import PIL.Image
import PIL.ImageSequence
import torch

from .image import Image

STILL = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
CODED = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
MOST = 100_000  # frames that are read of one file


class Video:
    """Raw form: uint8 `(N, T, h, w)` for mode "L", `(N, T, h, w, 3)` for "RGB", of any size; decoded at the grid's size.

    Frame after frame, each as `Image` keeps a picture: T channels, or 3 T. `rate` of the frames is `fps`; a clip's own is not
    looked at. A clip has exactly T frames; with `cut`, a longer one loses its end.
    """

    rate = None

    def __init__(self, grid: tuple[int, int], frames: int = 16, mode: str = "L", fps: float = 8.0, cut: bool = False):
        if frames < 1 or not fps > 0:
            raise ValueError(f"a film has at least one frame, and a rate above 0; got frames={frames}, fps={fps}")
        self.grid, self.frames, self.fps, self.cut = tuple(grid), frames, fps, cut
        self.mode = mode
        self.parts, self.channels = frames, frames * self.still.channels

    @property
    def still(self) -> Image:
        """The modality of a frame."""
        return Image(self.grid, self.mode)

    def of(self, frames: int) -> "Video":
        """The same with another number of frames: some of a film."""
        return Video(self.grid, frames, self.mode, self.fps, self.cut)

    def encode(self, raw: np.ndarray) -> torch.Tensor:
        raw = np.asarray(raw)
        whole = (4 if self.mode == "L" else 5) == raw.ndim
        if raw.dtype != np.uint8 or not whole:
            expected = "(N, T, h, w)" if self.mode == "L" else "(N, T, h, w, 3)"
            raise ValueError(f"a film of mode {self.mode!r} is uint8 {expected}, got {raw.dtype} {raw.shape}")
        if self.cut:
            raw = raw[:, : self.frames]
        if raw.shape[1] != self.frames:
            raise ValueError(f"the clip has {raw.shape[1]} frames, expected {self.frames}")
        return self.still.encode(raw.reshape(-1, *raw.shape[2:])).reshape(len(raw), self.channels, *self.grid)

    def decode(self, channels: torch.Tensor) -> np.ndarray:
        frames = self.still.decode(self.stills(channels))
        return frames.reshape(len(channels), self.frames, *frames.shape[1:])

    def stills(self, channels: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` to one row a frame, `(N T, 1 or 3, H, W)`."""
        return channels.reshape(-1, self.still.channels, *self.grid)

    def read(self, argument) -> np.ndarray:
        """The frames, `(1, T, h, w)` or `(1, T, h, w, 3)`, of an animated GIF, WebP or PNG, of a folder of pictures in the order of
        their names' numbers, of an MP4 with the extra `film`; of an animated PIL picture, or of an array, uint8 `(T, h, w)` or
        `(T, h, w, 3)`. Of any number.
        """
        if isinstance(argument, np.ndarray):
            if (
                argument.dtype != np.uint8
                or argument.ndim not in (3, 4)
                or argument.ndim == 4
                and argument.shape[3] != 3
            ):
                raise ValueError(f"a film is uint8 (T, h, w) or (T, h, w, 3), got {argument.dtype} {argument.shape}")
            return self.joined(PIL.Image.fromarray(frame) for frame in argument)
        if isinstance(argument, PIL.Image.Image):
            return self.joined(PIL.ImageSequence.Iterator(argument))
        if not isinstance(argument, str | os.PathLike):
            raise ValueError(
                f"expected the path of a film, a folder of frames or an array, got {type(argument).__name__}"
            )
        path = pathlib.Path(argument)
        try:
            if path.is_dir():
                return self.joined(_folder(path))
            if path.suffix.lower() in CODED:
                return self.joined(_coded(path))
            with PIL.Image.open(path) as file:
                return self.joined(PIL.ImageSequence.Iterator(file))
        except FileNotFoundError:
            raise ValueError(f"no film at {os.fspath(argument)!r}") from None
        except (OSError, EOFError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ValueError(f"{os.fspath(argument)!r} is not a film that can be read: {error}") from None

    def joined(self, pictures) -> np.ndarray:
        """PIL pictures of one size as frames."""
        frames = []
        for picture in pictures:
            if len(frames) >= MOST:
                raise ValueError(f"the film has more than {MOST} frames; cut it first")
            frames.append(self.still.convert(picture))
            if frames[-1].shape != frames[0].shape:
                raise ValueError(f"the film's frames differ in size: {frames[0].shape[:2]} and {frames[-1].shape[:2]}")
        if not frames:
            raise ValueError("the film has no frames")
        return np.stack(frames)[None]

    def picture(self, channels: torch.Tensor, columns: int = 8, gap: int = 1) -> np.ndarray:
        """A film strip: the frames in lines of up to 8, in order, with thin lines between them."""
        tiles = self.still.picture(self.stills(channels)).reshape(len(channels), self.frames, *self.grid, 3)
        columns = min(columns, self.frames)
        lines = -(-self.frames // columns)
        (h, w), n = self.grid, len(tiles)
        out = np.full((n, lines * (h + gap) - gap, columns * (w + gap) - gap, 3), 90, np.uint8)
        for i in range(self.frames):
            top, left = i // columns * (h + gap), i % columns * (w + gap)
            out[:, top : top + h, left : left + w] = tiles[:, i]
        return out

    def movie(self, channels: torch.Tensor) -> list[bytes]:
        """An animated file a film, without loss: GIF for grey, WebP for colours."""
        out = []
        for film in self.decode(channels):
            first, *others = (PIL.Image.fromarray(frame) for frame in film)
            file = io.BytesIO()
            how = {"format": "GIF", "optimize": False} if self.mode == "L" else {"format": "WEBP", "lossless": True}
            first.save(file, save_all=True, append_images=others, duration=round(1000 / self.fps), loop=0, **how)
            out.append(file.getvalue())
        return out


def _folder(path: pathlib.Path):
    """The pictures in a folder, in the order of the numbers in their names."""
    number = lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name)]
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in STILL), key=number)
    if not files:
        raise ValueError(f"no pictures in the folder {os.fspath(path)!r}; expected frames, such as 00.png, 01.png")
    for file in files:
        with PIL.Image.open(file) as picture:
            yield picture.copy()


def _coded(path: pathlib.Path):
    """The frames of a compressed film."""
    try:
        import av
    except ImportError:
        raise ValueError(f"{os.fspath(path)!r} needs PyAV to be read; type: pip install 'jointdiff[film]'") from None
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with av.open(os.fspath(path)) as file:
            if not file.streams.video:
                raise ValueError(f"{os.fspath(path)!r} has no pictures")
            for frame in file.decode(video=0):
                yield frame.to_image()
    except av.FFmpegError as error:
        raise OSError(str(error)) from None
