"""Writing that is whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile


def write_atomically(path: pathlib.Path, write) -> None:
    """`write(temporary path)`, then move it to `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def new_folder(parent: pathlib.Path) -> pathlib.Path:
    """The first of parent/000, parent/001 ... that does not exist."""
    return next(p for p in (parent / f"{i:03d}" for i in range(10**6)) if not p.exists())


@contextlib.contextmanager
def folder_at_once(path: pathlib.Path):
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not."""
    path = pathlib.Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists already and is not an empty folder; name a new one")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
