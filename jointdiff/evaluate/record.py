"""What an experiment keeps of itself: its figures with how they were obtained, written as they come, and gone on with later."""

import json
import pathlib
import statistics
import subprocess

import torch

from ..files import write_atomically


def origin() -> dict[str, str]:
    """With which torch, from which commit (empty outside of a clone) and on which device figures are made."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent
        ).stdout.strip()
    except OSError:  # no git
        found = ""
    threads = torch.get_num_threads()
    return {"torch": torch.__version__, "commit": found, "device": f"cpu, {threads} thread{'s' if threads > 1 else ''}"}


class Record(dict):
    """The content of a JSON file: `setting`, where it comes from, and figures, under the names in `empty` at the beginning.

    What a file with the same setting has already stands there; one that was made with another ends the program, and stays.
    """

    def __init__(self, path: pathlib.Path, setting: dict, **empty):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found = json.loads(self.path.read_text()) if self.path.exists() else {}
        if any(found.get(name) for name in empty) and {k: found.get(k) for k in setting} != setting:
            raise SystemExit(f"{self.path} was made with other arguments; name another --outdir")
        super().__init__({**empty, **found, **setting, **origin()})

    def save(self) -> None:
        write_atomically(self.path, lambda p: p.write_text(json.dumps(self, indent=1) + "\n"))


def plus_minus(figures: list[float]) -> str:
    """Mean ± standard deviation of a figure's seeds, as tables say it; of one seed the figure alone."""
    spread = f" ± {statistics.stdev(figures):.3f}" if len(figures) > 1 else ""
    return f"{statistics.fmean(figures):.3f}{spread}"
