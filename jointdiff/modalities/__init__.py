"""Modalities: raw data <-> channels on a shared grid, in [-1, 1].

A modality encodes a batch of raw values to `(N, C, H, W)` float32 and decodes such channels back. All of them offer

    channels, rate            number of channels; samples a second for sound, else None
    encode(raw) -> channels   raw: the batch form named in the class
    decode(channels) -> raw
    read(argument) -> raw     one value (a batch of 1) from what a user has: a path, the text itself, a picture, an array
    picture(channels)         `(N, h, w, 3)` uint8, something to look at

and some say more of themselves: `exact = True`, channels are kept as floats, 8 bits would be too few, and may lie beyond [-1, 1];
`reads = True`, decoded values are texts, which name their class where every class has one; `parts`, its channels are so many parts,
which may be given or drawn one by one, and `of(n)` is the modality of n of them; `movie(channels)`, an animated file a value.
"""

from .array import Array
from .audio import Audio
from .image import Image
from .text import Text
from .video import Video

MODALITIES = {"image": Image, "text": Text, "audio": Audio, "array": Array, "video": Video}
