"""Items kept in files: encoded once, put under the data root, and read a few at a time.

What a file's name stands for is all that its content depends on, so a changed option or a changed file of the user's makes a
new one, and the folder may be deleted at any time. Files are written whole or not at all, by one process of several.
"""

import hashlib
import inspect
import json
import mmap
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import torch
from filelock import FileLock

from ..files import folder_at_once


class Stored:
    """Items `(N, ...)` in a .npy file; indexed like a tensor along the first axis. `rows` are those of it that count.

    The file is opened at every reading and closed again: memory holds what was asked for, however large the file is.
    """

    def __init__(self, file: pathlib.Path, rows: torch.Tensor | None = None):
        self.file, self.rows = pathlib.Path(file), rows
        array = np.load(self.file, mmap_mode="r")
        self.shape = torch.Size((len(array) if rows is None else len(rows), *array.shape[1:]))
        self.dtype = torch.from_numpy(array[:0].copy()).dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> torch.Tensor:
        index = index if self.rows is None else self.rows[index]
        array = np.load(self.file, mmap_mode="r")
        if not isinstance(index, slice) and hasattr(mmap, "MADV_RANDOM"):
            array._mmap.madvise(mmap.MADV_RANDOM)  # rows here and there: what the system would read ahead is not wanted
        return torch.from_numpy(np.array(array[index if isinstance(index, slice) else np.asarray(index)]))

    def split(self, size: int) -> Iterable[torch.Tensor]:
        """The items in parts."""
        return (self[i : i + size] for i in range(0, len(self), size))


def digest(*depends) -> str:
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def content(values: Stored | torch.Tensor) -> str:
    """The digest of items: of what a file's name stands for, or of a tensor's numbers."""
    if isinstance(values, Stored):
        rows = None if values.rows is None else hashlib.sha256(values.rows.numpy().tobytes()).hexdigest()
        return digest(values.file.parent.name, rows)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]


def code(*functions) -> str:
    """The digest of the files that define functions: what they made is made anew when they change."""
    files = [pathlib.Path(inspect.getfile(f)) for f in functions]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files if f.is_file())).hexdigest()


def kept(root: pathlib.Path, name: str, depends: list, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """The folder under `root` of what depends on `depends`; `write` fills it when there is none yet."""
    folder = root / "encoded" / f"{name}-{digest(*depends)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                with folder_at_once(folder) as temporary:
                    write(temporary)
    return folder


def save_items(file: pathlib.Path, count: int, parts: Iterable[torch.Tensor]) -> Stored:
    """Write `count` items, which come in parts, one after the other."""
    written = 0
    with open(file, "wb") as out:
        for part in parts:
            array = part.contiguous().numpy()
            if not written:
                head = {"descr": array.dtype.str, "fortran_order": False, "shape": (count, *array.shape[1:])}
                np.lib.format.write_array_header_1_0(out, head)
            array.tofile(out)
            written += len(array)
    if written != count:
        raise RuntimeError(f"{written} items came for {file}, {count} were announced")
    return Stored(file)
