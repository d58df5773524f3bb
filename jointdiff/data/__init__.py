"""Data: sources of raw items with classes, tables of a user, the files that keep them encoded, and rows of what belongs together.

A source is a function `(root, split, **options) -> Items`. Offline it says which file it wants and how to get it. A scene makes
several modalities of one row at once.
"""

from .items import Items
from .loader import Pairs, Rows, Table, encode_source, examples, restored, shifted, shown, stored
from .manifest import Manifest
from .scenes import SCENES
from .sources import SOURCES
from .store import Stored, code, content, kept, save_items

__all__ = [
    "SCENES", "SOURCES", "Items", "Manifest", "Pairs", "Rows", "Stored", "Table", "code", "content", "encode_source", "examples",
    "kept", "restored", "save_items", "shifted", "shown", "stored",
]  # fmt: skip
