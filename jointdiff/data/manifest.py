"""A user's own data: a table of files and values, read without a line of code.

A manifest is a CSV file with a header, JSON lines, or Parquet. A column is a modality; the columns `label` and `split`
("train", "test") are special. A cell is a path (from the manifest's folder) of a picture, a sound, an array or a film (an
animated file, or a folder of frames, whose path ends in "/"), or a text; JSON lines and Parquet may also hold numbers, nested as
an array. Empty cells, and keys that a line lacks, are missing there.

A folder of folders is one as well: `photo/0001.jpg`, `depth/0001.npy`, `caption/0001.txt`. The folders are modalities, what
has the same stem is a row, and all of it may stand under `train` and `test`.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections import Counter
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .loader import Table, stored
from .look import grid_for, look, options
from .store import Stored, code, kept, save_items
from .tables import is_path, read_rows

SPECIAL = ("label", "split")
EXPECTED = {False: "header and a column", True: "folder"}
PARALLEL = 2000  # cells from which on a column is read by several processes
TEST_EVERY = 10  # without a column `split`, this part of the rows is the test split


@dataclasses.dataclass
class Manifest:
    """`columns` in order; `cells[column]` a value or None a row; `places` say where each row stands, such as "line 3"."""

    path: pathlib.Path
    columns: tuple[str, ...]
    cells: dict[str, list[Any]]
    labels: list[str | None]
    splits: list[str]
    places: list[str]

    @classmethod
    def open(cls, path, outside: bool = False) -> "Manifest":
        """Read the table; ValueError with line numbers for what is no table, or, if not `outside`, leads out of its folder."""
        path = pathlib.Path(path)
        rows = read_rows(path)
        columns = list(dict.fromkeys(k for _, row in rows for k in row if k not in SPECIAL))
        used = [c for c in columns if any(row.get(c) not in (None, "") for _, row in rows)]
        if not rows or not used:
            raise ValueError(
                f"the manifest {path} has no rows with values; expected a {EXPECTED[path.is_dir()]} a modality"
            )
        cells = {c: [None if row.get(c) in (None, "") else row[c] for _, row in rows] for c in used}
        folder = path if path.is_dir() else path.parent
        home = os.path.abspath(folder)
        for place, row in [] if outside else rows:
            for column in used:
                cell = row.get(column)
                if is_path(cell) and os.path.commonpath([home, os.path.abspath(folder / cell)]) != home:
                    raise ValueError(
                        f"{path}, {place}, {column}: {cell!r} lies outside of the manifest's folder; if that is meant, "
                        "--config.data.outside=true"
                    )
        splits = []
        for i, (place, row) in enumerate(rows):
            split = row.get("split") or ("test" if i % TEST_EVERY == TEST_EVERY - 1 else "train")
            if split not in ("train", "test"):
                raise ValueError(f"{path}, {place}: split is {split!r}; expected train or test")
            splits.append(split)
        labels = [None if row.get("label") in (None, "") else str(row["label"]) for _, row in rows]
        return cls(path, tuple(used), cells, labels, splits, [place for place, _ in rows])

    def value(self, cell):
        """A cell as a modality reads it: a path made absolute, a text, or an array."""
        if isinstance(cell, str):
            found = (self.path if self.path.is_dir() else self.path.parent) / cell
            return str(found) if is_path(cell) else cell
        return np.asarray(cell, dtype=np.float64)

    def classes(self) -> np.ndarray:
        """The rows' labels as numbers, in the order of the names, -1 for a row without; all 0 when there are none at all."""
        names = sorted({label for label in self.labels if label is not None}, key=lambda v: (len(v), v))
        none = -1 if names else 0
        return np.array([names.index(label) if label is not None else none for label in self.labels], dtype=np.int64)

    def table(
        self, modalities: dict, split: str, seed=0, on_error="stop", show=print, root="~/.cache/jointdiff"
    ) -> Table:
        """The rows of a split as stored channels, kept under `root`.

        Every cell of every row is read first, of both splits: what cannot be read is listed with line number and reason,
        all of it at once, in a ValueError; with on_error = "skip" those rows are left out, and `show` is told how many.
        """
        if on_error not in ("stop", "skip"):
            raise ValueError(f"config.data.on_error is {on_error!r}; expected stop or skip")
        lost = [n for n in modalities if n not in self.columns]
        if lost:
            raise ValueError(f"{self.path} has no column {lost[0]!r}; it has {', '.join(self.columns)}")
        kept, wrong = {}, {}
        for name, modality in modalities.items():
            kept[name], errors = self.column(name, modality, pathlib.Path(root).expanduser())
            for row, error in errors.items():
                wrong.setdefault(row, []).append(f"{self.places[row]}, {name}: {error}")
        if wrong and on_error == "stop":
            listed = "\n  ".join(reason for row in sorted(wrong) for reason in wrong[row])
            raise ValueError(
                f"{len(wrong)} of {len(self.places)} rows of {self.path} cannot be read; mend them, or go on without them by "
                f"--config.data.on_error=skip\n  {listed}"
            )
        if wrong:
            show(f"{len(wrong)} of {len(self.places)} rows of {self.path} cannot be read and are left out")
        there = {n: np.array([cell is not None for cell in self.cells[n]]) for n in modalities}
        use = np.any(list(there.values()), axis=0) & (np.array(self.splits) == split)
        use[list(wrong)] = False
        if not use.any():
            raise ValueError(f"{self.path} has no row for the {split} split")
        index, values = {}, {}
        for name in modalities:
            mine = there[name] & use
            if not mine.any():
                raise ValueError(f"the column {name!r} of {self.path} is empty in all rows of the {split} split")
            place = np.cumsum(there[name]) - 1  # of each row in the file of the column
            values[name] = Stored(kept[name], torch.from_numpy(place[mine]))
            index[name] = torch.from_numpy(np.where(mine, np.cumsum(mine) - 1, -1)[use])
        return Table(values, index, torch.from_numpy(self.classes()[use]), seed)

    def column(self, name: str, modality, root: pathlib.Path) -> tuple[pathlib.Path, dict[int, str]]:
        """The file of a column's items, in the order of its cells, and what is wrong with those that cannot be read.

        It stands for the modality's options, the cells, and the size and time of every file that they name.
        """
        rows = [r for r, cell in enumerate(self.cells[name]) if cell is not None]
        cells = [self.value(self.cells[name][r]) for r in rows]

        def write(folder):
            errors, read = {}, Cells(modality, cells)
            save_items(folder / "items.npy", len(rows), _parts(read, rows, errors, f"reading {name}"))
            (folder / "wrong.json").write_text(json.dumps(errors))

        settings = {k: np.asarray(v).tolist() for k, v in vars(modality).items()}
        about = [
            type(modality).__name__,
            settings,
            code(type(modality).encode, Manifest.open),
            rows,
            [_identity(c) for c in cells],
        ]
        folder = kept(root, name, about, write)
        wrong = json.loads((folder / "wrong.json").read_text())
        return folder / "items.npy", {int(row): error for row, error in wrong.items()}

    def propose(self, grid: tuple[int, int] | None = None) -> tuple[tuple[int, int], dict[str, tuple[str, dict]]]:
        """The grid (when it is not given), and `{column: (kind of modality, its options)}`, from a look at the files.

        Every cell is looked at; one that cannot be read is passed over here and reported when the data are read.
        """
        looked = {c: [look(cell, self.value) for cell in self.cells[c]] for c in self.columns}
        looked = {c: [v for v in values if v is not None] for c, values in looked.items()}
        sizes = Counter(v["size"] for values in looked.values() for v in values if "size" in v)
        if grid is None:
            grid = grid_for(max(sizes, key=lambda s: (sizes[s], s))) if sizes else (32, 32)
        out = {}
        for column, values in looked.items():
            if not values:
                raise ValueError(
                    f"{self.path}: no cell of the column {column!r} can be read; the first is {self._first(column)}"
                )
            kinds = Counter(v["kind"] for v in values)
            kind = max(kinds, key=kinds.get)
            out[column] = (kind, options(kind, [v for v in values if v["kind"] == kind], grid, column))
        return grid, out

    def _first(self, column):
        place, cell = next((p, c) for p, c in zip(self.places, self.cells[column]) if c is not None)
        return f"{cell!r} in {place}"


class Cells(torch.utils.data.Dataset):
    """A column's cells, each read and encoded when it is asked for: an array, or what is wrong with it."""

    def __init__(self, modality, cells: list):
        self.modality, self.cells = modality, cells

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, place: int) -> np.ndarray | str:
        try:
            return stored(self.modality, self.modality.encode(self.modality.read(self.cells[place])))[0].numpy()
        except ValueError as error:
            return str(error)


def _parts(read: Cells, rows: list[int], errors: dict, what: str):
    """The items of all cells in parts, zeros for those that cannot be read, which go to `errors` by row."""
    blank = stored(read.modality, torch.zeros(1, read.modality.channels, *read.modality.grid))
    workers = min(os.cpu_count() or 1, 8) if len(read) > PARALLEL else 0
    loader = torch.utils.data.DataLoader(read, batch_size=64, num_workers=workers, collate_fn=list)
    with tqdm(total=len(read), desc=what, unit="item", leave=False, disable=None) as bar:
        for part in loader:
            errors |= {rows[bar.n + i]: item for i, item in enumerate(part) if isinstance(item, str)}
            yield torch.cat([blank if isinstance(item, str) else torch.from_numpy(item)[None] for item in part])
            bar.update(len(part))


def _identity(cell):
    """What tells a cell's content: the path, size and time of a file; a text; an array's numbers."""
    if isinstance(cell, np.ndarray):
        return [cell.shape, hashlib.sha256(cell.tobytes()).hexdigest()]
    try:
        about = os.stat(cell) if is_path(cell) else None
    except OSError:
        about = None
    return [cell, about.st_size, about.st_mtime_ns] if about else cell
