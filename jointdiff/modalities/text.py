"""Rendered text: words as pictures on a fixed grid of cells, and back by comparing with the letters' templates.

A network learns where and what to write much sooner when letters have fixed places, and a fixed cell can be read back
by its nearest template, which is the most probable letter under Gaussian noise.
"""

import functools
import textwrap
import unicodedata

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .image import to_uint8

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,!?'-"
# Strokes of accents in a unit square, y down: Pillow's own font has none. Combining marks by their Unicode names.
ACCENTS = {
    "GRAVE ACCENT": [((0.3, 0.0), (0.7, 1.0))],
    "ACUTE ACCENT": [((0.7, 0.0), (0.3, 1.0))],
    "CIRCUMFLEX ACCENT": [((0.15, 1.0), (0.5, 0.0)), ((0.5, 0.0), (0.85, 1.0))],
    "CARON": [((0.15, 0.0), (0.5, 1.0)), ((0.5, 1.0), (0.85, 0.0))],
    "TILDE": [((0.05, 0.8), (0.35, 0.2)), ((0.35, 0.2), (0.65, 0.8)), ((0.65, 0.8), (0.95, 0.2))],
    "DIAERESIS": [((0.15, 0.3), (0.15, 0.7)), ((0.85, 0.3), (0.85, 0.7))],
    "RING ABOVE": [
        ((0.3, 0.0), (0.7, 0.0)),
        ((0.7, 0.0), (0.7, 1.0)),
        ((0.7, 1.0), (0.3, 1.0)),
        ((0.3, 1.0), (0.3, 0.0)),
    ],
    "MACRON": [((0.0, 0.5), (1.0, 0.5))],
    "CEDILLA": [((0.5, 0.0), (0.65, 0.5)), ((0.65, 0.5), (0.35, 1.0))],
}


def parts(letter: str) -> tuple[str, str]:
    """A letter without its accent, and the accent's name or ""; ValueError for what cannot be drawn."""
    base, *marks = unicodedata.normalize("NFD", letter)
    names = [unicodedata.name(m, "").removeprefix("COMBINING ") for m in marks]
    if len(names) > 1 or any(n not in ACCENTS for n in names) or not (base.isascii() and base.isprintable()):
        raise ValueError(
            f"{letter!r} cannot be drawn; letters, digits and punctuation of ASCII can, and accented letters"
        )
    return base, names[0] if names else ""


def drawable(letter: str) -> bool:
    """Whether a letter can be part of an alphabet."""
    try:
        return bool(parts(letter))
    except ValueError:
        return False


def accented(ink: Image.Image, accent: str) -> Image.Image:
    """The picture of a letter with an accent: the letter in three quarters of the height, the strokes in the rest."""
    if not accent:
        return ink
    width, height = ink.size
    low, part = accent == "CEDILLA", height // 4
    out = Image.new("L", ink.size)
    out.paste(ink.resize((width, height - part)), (0, 0 if low else part))
    top, tall, side = (height - part if low else 0), 0.8 * part, min(width, 2.2 * part)
    left, draw = (width - side) / 2, ImageDraw.Draw(out)
    for stroke in ACCENTS[accent]:
        draw.line([(left + x * side, top + y * tall) for x, y in stroke], fill=255, width=max(1, height // 12))
    return out


@functools.cache
def glyphs(alphabet: str, cell: tuple[int, int]) -> torch.Tensor:
    """Templates in [-1, 1], `(len(alphabet), height, width)`: Pillow's own font, each letter as wide as its cell allows."""
    width, height = cell
    font = ImageFont.load_default(size=8 * height)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install a Pillow wheel that has it")
    drawn = [parts(letter) for letter in alphabet]
    _, top, _, bottom = font.getbbox("".join(base for base, _ in drawn))
    out = []
    for letter, accent in drawn:
        left, _, right, _ = font.getbbox(letter)
        ink = Image.new("L", (max(right - left, 1), bottom - top))
        ImageDraw.Draw(ink).text((-left, -top), letter, font=font, fill=255)
        ink = accented(ink, accent)
        wide = min(width - 1, max(1, round(1.25 * ink.width * (height - 1) / ink.height)))
        glyph = Image.new("L", (width, height))
        glyph.paste(ink.resize((wide, height - 1), Image.Resampling.BOX), ((width - wide) // 2, 0))
        out.append(np.minimum(np.asarray(glyph) * 1.6, 255))
    return torch.from_numpy(np.stack(out)).float() / 127.5 - 1


class Text:
    """Raw form: a list of strings over `alphabet`, at most `columns * rows` long, with no space at the end.

    `cell` is (width, height) in pixels. Text fills the cells from left to right, line by line, wherever words end; with
    `lines`, "\\n" ends a line, and each is at most `columns` long. The cells after it stay blank. Letters are drawn white on
    black: those of ASCII, and those with an accent. Every text that fits is decoded exactly.
    """

    rate = None
    channels = 1
    reads = True

    def __init__(
        self, grid: tuple[int, int], cell: tuple[int, int] = (6, 10), alphabet: str = ALPHABET, lines: bool = False
    ):
        self.grid, self.cell, self.alphabet, self.lines = tuple(grid), tuple(cell), alphabet, lines
        self.columns, self.rows = grid[1] // cell[0], grid[0] // cell[1]
        if self.columns * self.rows < 1:
            raise ValueError(
                f"a cell of {cell[0]} x {cell[1]} pixels does not fit a grid {grid[1]} wide and {grid[0]} high"
            )
        if cell[0] < 3 or cell[1] < 5:
            raise ValueError(f"a cell of {cell[0]} x {cell[1]} pixels is too small for letters; the smallest is 3 x 5")
        self.capacity = self.columns * self.rows
        self.top = (grid[0] - self.rows * cell[1]) // 2
        self.left = (grid[1] - self.columns * cell[0]) // 2
        if " " not in alphabet:
            raise ValueError("the alphabet needs the space: blank cells are spaces")
        self.templates = glyphs(alphabet, self.cell)
        distance = torch.cdist(self.templates.flatten(1), self.templates.flatten(1)).fill_diagonal_(torch.inf)
        if distance.min() < 0.1:
            a, b = divmod(int(distance.argmin()), len(alphabet))
            raise ValueError(
                f"{alphabet[a]!r} and {alphabet[b]!r} look the same in cells of {cell[0]} x {cell[1]} pixels"
            )

    @classmethod
    def fits(cls, texts: list[str], grid, cell, **options) -> bool:
        """Whether all texts can be written on a grid in cells of this size, and be read back."""
        try:
            kind = cls(grid, cell, **options)
            return all(kind.check(text) == text for text in texts)
        except ValueError:
            return False

    def check(self, text: str) -> str:
        """The text itself; ValueError when it cannot be written and read back exactly."""
        if not isinstance(text, str):
            raise ValueError(f"expected a text, got {type(text).__name__}")
        lines = text.split("\n") if self.lines else [text]
        unknown = sorted(set("".join(lines)) - set(self.alphabet))
        if unknown:
            raise ValueError(
                f"the text {text!r} has {', '.join(map(repr, unknown))}; possible are the characters {self.alphabet!r}"
            )
        if self.lines and (len(lines) > self.rows or max(map(len, lines)) > self.columns):
            raise ValueError(
                f"the text {text!r} has {len(lines)} lines, the longest of {max(map(len, lines))} characters; "
                f"{self.rows} lines of {self.columns} fit"
            )
        if len(text) > self.capacity and not self.lines:
            raise ValueError(
                f"the text {text!r} has {len(text)} characters; {self.capacity} fit "
                f"({self.rows} lines of {self.columns})"
            )
        if any(line.endswith(" ") for line in lines) or self.lines and text.endswith("\n"):
            raise ValueError(
                f"the text {text!r} ends in a space or an empty line, which cannot be told from empty cells"
            )
        return text

    def cells(self, text: str) -> str:
        """The letters of all cells."""
        parts = text.split("\n") if self.lines else [text]
        return "".join(part.ljust(self.columns if self.lines else self.capacity) for part in parts).ljust(self.capacity)

    def encode(self, raw: list[str]) -> torch.Tensor:
        raw = [self.check(text) for text in raw]
        letters = torch.tensor([[self.alphabet.index(c) for c in self.cells(text)] for text in raw]).long()
        x = torch.full((len(raw), 1, *self.grid), -1.0)
        if raw:
            width, height = self.cell
            cells = self.templates[letters].view(-1, self.rows, self.columns, height, width).transpose(2, 3)
            x[:, 0, self.top : self.top + self.rows * height, self.left : self.left + self.columns * width] = (
                cells.reshape(len(raw), self.rows * height, self.columns * width)
            )
        return x

    def decode(self, channels: torch.Tensor) -> list[str]:
        """The nearest template of every cell, at the best shift of the whole text by up to 1 pixel."""
        x = channels.detach().float().cpu()[:, 0]
        width, height = self.cell
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
        templates = self.templates.flatten(1)
        costs, letters = [], []
        for dy, dx in sorted(((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)), key=lambda s: abs(s[0]) + abs(s[1])):
            top, left = self.top + 1 + dy, self.left + 1 + dx
            area = padded[:, top : top + self.rows * height, left : left + self.columns * width]
            cells = (
                area.reshape(-1, self.rows, height, self.columns, width)
                .transpose(2, 3)
                .reshape(len(x), -1, height * width)
            )
            best = ((templates**2).sum(1) - 2 * cells @ templates.T).min(dim=2)
            # |picture - rendering|^2 up to a constant: the cells' best distances, and black outside of them
            outside = (padded + 1).square().sum((1, 2)) - (area + 1).square().sum((1, 2))
            costs.append(best.values.sum(1) + area.square().sum((1, 2)) + outside)
            letters.append(best.indices)
        choice = torch.stack(costs).argmin(0)
        letters = torch.stack(letters)[choice, torch.arange(len(x))]
        texts = ["".join(self.alphabet[i] for i in row) for row in letters.tolist()]
        if self.lines:
            starts = range(0, self.capacity, self.columns)
            texts = ["\n".join(text[i : i + self.columns].rstrip() for i in starts) for text in texts]
        return [text.rstrip() for text in texts]

    def read(self, argument: str) -> list[str]:
        """A text; with `lines`, one without line ends that is too long for a line is broken at its spaces."""
        if argument == "":
            raise ValueError(
                "the text is empty; to draw without it, leave it out, or do not name it and it is generated"
            )
        if self.lines and isinstance(argument, str) and "\n" not in argument and len(argument) > self.columns:
            argument = "\n".join(textwrap.wrap(argument, self.columns, break_long_words=False))
        return [self.check(argument)]

    def picture(self, channels: torch.Tensor) -> np.ndarray:
        return np.repeat(to_uint8(channels).transpose(0, 2, 3, 1), 3, axis=3)
