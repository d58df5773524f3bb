"""The rows of a table of files and values: CSV, JSON lines, Parquet, or a folder of folders."""

import csv
import json
import pathlib

from ..modalities.audio import SOUNDS
from ..modalities.video import CODED

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ARRAYS = (".npy", ".npz")


def is_path(cell) -> bool:
    if isinstance(cell, str) and cell.endswith("/"):  # a folder of frames
        return True
    suffix = pathlib.PurePath(cell).suffix.lower() if isinstance(cell, str) and len(cell) < 4096 else ""
    return suffix in (*PICTURES, *ARRAYS, *SOUNDS, *CODED)


def read_rows(path: pathlib.Path) -> list[tuple[str, dict]]:
    """Where each row stands, and `{column: cell}`."""
    if path.is_dir():
        return [row for part in ("train", "test") for row in _folder_rows(path, part)] or _folder_rows(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"no manifest at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the manifest {path} cannot be read: {error}") from None
    return _json_rows(path, text) if path.suffix in (".jsonl", ".json") else _csv_rows(path, text)


def _folder_rows(path: pathlib.Path, split: str = ""):
    """The rows of `path / split`: its folders are columns, the stems of their files rows; a text file is its text."""
    rows = {}
    for folder in sorted(p for p in (path / split).glob("*/") if not p.name.startswith(".")):
        for file in sorted(folder.iterdir()):
            if file.name.startswith(".") or not (is_path(file.name) or file.suffix.lower() == ".txt"):
                continue
            row = rows.setdefault(file.stem, {"split": split})
            if folder.name in row:
                raise ValueError(f"{folder} has two files for the row {file.stem!r}: {file.name} and another")
            row[folder.name] = file.read_text().strip() if file.suffix == ".txt" else str(file.relative_to(path))
    return [(f"row {stem}", rows[stem]) for stem in sorted(rows)]


def _parquet_rows(path: pathlib.Path):
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(f"{path} needs pyarrow to be read; type: pip install 'jointdiff[parquet]'") from None
    try:
        return [(f"row {i}", row) for i, row in enumerate(parquet.read_table(path).to_pylist())]
    except FileNotFoundError:
        raise ValueError(f"no manifest at {path}") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"the manifest {path} cannot be read: {error}") from None


def _csv_rows(path, text):
    try:
        reader = csv.reader(text.splitlines(), strict=True)
        head = next(reader, [])
        if len(set(head)) != len(head) or any(not h.strip() for h in head):
            raise ValueError(f"the header of {path} has empty or repeated names: {head}")
        rows = []
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(head):
                raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells; the header has {len(head)}")
            rows.append((f"line {reader.line_num}", dict(zip([h.strip() for h in head], row))))
        return rows
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def _json_rows(path, text):
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
        rows.append((f"line {number}", row))
    return rows
