"""Items in files: the same as in memory, made once, and no larger in memory than what is asked for."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_manifest import folder, own
from test_training import tiny

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import SOURCES, Items, Pairs, Stored, content, kept, save_items
from jointdiff.trainer import Trainer


def test_what_is_read_is_what_was_written(tmp_path):
    whole = torch.arange(10 * 2 * 3).view(10, 2, 3).to(torch.uint8)
    items = save_items(tmp_path / "a.npy", 10, whole.split(4))
    assert items.dtype == torch.uint8 and items.shape == whole.shape and len(items) == 10
    some = torch.tensor([7, 0, 7])
    for index in (some, 3, slice(None, None, 3), torch.arange(10) > 6, slice(None)):
        assert torch.equal(items[index], whole[index])
    assert torch.equal(Stored(tmp_path / "a.npy", some)[1:], whole[some][1:])
    assert torch.equal(torch.cat(list(items.split(4))), whole)
    assert len({content(v) for v in (items, Stored(tmp_path / "a.npy", some), whole)}) == 3
    with pytest.raises(RuntimeError, match="8 items came .* 10 were announced"):
        save_items(tmp_path / "b.npy", 10, whole[:8].split(4))


def test_training_reads_the_same_from_files_and_from_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    trainer = Trainer(tiny(), tmp_path / "run")
    pairs = trainer.batches.pairs
    memory = Pairs({n: v[:] for n, v in pairs.values.items()}, pairs.labels, pairs.seed)
    for a, b in zip(pairs.rows(1490, 30)[0].values(), memory.rows(1490, 30)[0].values()):
        assert torch.equal(a, b)


def test_items_are_encoded_once_and_again_when_an_option_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    c = tiny()
    build.data(c, build.modalities(c), "test")
    monkeypatch.setattr(build, "items", None)  # the second time it must not be needed
    again = build.data(c, build.modalities(c), "test")
    assert isinstance(again.values["image"], Stored) and len(again) == 300
    c.data.grid = (16, 24)
    with pytest.raises(TypeError):
        build.data(c, build.modalities(c), "test")


def test_a_source_of_ones_own_is_asked_every_time(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    asked = []

    def own_source(root, split):
        asked.append(split)
        return Items(np.full((10, 8, 8), len(asked), dtype=np.uint8), np.arange(10))

    monkeypatch.setitem(SOURCES, "own", own_source)
    c = tiny()
    c.modality.image = cfg.modality("image", "own")
    first, second = (build.data(c, build.modalities(c), "train").values["image"] for _ in range(2))
    assert asked == ["train", "train"] and first.max() == 1 and second.max() == 2


def test_a_manifests_files_are_read_again_when_they_change_and_errors_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "cache"))
    manifest = folder(tmp_path)
    (tmp_path / "4.wav").write_text("no sound")
    c = build.resolve(own(manifest, **{"data.on_error": "skip"}), lambda line: None)
    modalities, read = build.modalities(c), []
    first = build.data(c, modalities, "train", lambda line: None)
    kinds = {type(m) for m in modalities.values()}
    for kind in kinds:
        plain = kind.read
        monkeypatch.setattr(kind, "read", lambda self, value, plain=plain: read.append(value) or plain(self, value))
    said = []
    again = build.data(c, modalities, "train", said.append)
    assert not read and len(again) == len(first) == 15 and "1 of 20 rows" in said[0]
    np.save(tmp_path / "b3.npy", np.zeros((2, 12, 8)))
    build.data(c, modalities, "train", lambda line: None)
    assert len(read) == 20 and all(str(r).endswith(".npy") for r in read)  # that column alone


def test_a_long_column_is_read_by_several_processes_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "cache"))
    manifest = folder(tmp_path)
    c = build.resolve(own(manifest), lambda line: None)
    one = build.data(c, build.modalities(c), "train")
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "other"))
    monkeypatch.setattr("jointdiff.data.manifest.PARALLEL", 0)
    two = build.data(c, build.modalities(c), "train")
    assert all(torch.equal(one.values[n][:], two.values[n][:]) for n in one.values)


def test_several_at_once_write_once(tmp_path):
    written = []

    def write(place):
        time.sleep(0.2)
        written.append(place)
        (place / "done").write_text("")

    threads = [threading.Thread(target=kept, args=(tmp_path, "a", [1], write)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1 and (kept(tmp_path, "a", [1], None) / "done").exists()

    def broken(place):
        (place / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError):
        kept(tmp_path, "b", [1], broken)
    assert not [p for p in (tmp_path / "encoded").iterdir() if "b-" in p.name and p.is_dir()]


def test_a_data_root_that_may_only_be_read_leaves_the_cache_to_the_users_own(tmp_path, monkeypatch):
    c = tiny()
    c.data.root = str(tmp_path / "data")
    assert build.cache_root(c) == tmp_path / "data"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert build.cache_root(c).name == "jointdiff"


def test_memory_does_not_grow_with_the_data(tmp_path):
    """A million rows of 4 x 64 x 64, 16 GB (of zeros, which a file need not hold), in a process of its own."""
    script = """
import resource, sys
import numpy as np
from jointdiff.data import Pairs, Stored
head = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 4, 64, 64)}
with open("big.npy", "wb") as file:
    np.lib.format.write_array_header_1_0(file, head)
    file.truncate(file.tell() + 10**6 * 4 * 64 * 64)
pairs = Pairs({"bands": Stored("big.npy")}, {"bands": np.zeros(10**6, dtype=np.int64)})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for k in range(300):
    pairs.rows(64 * k, 64)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    (tmp_path / "big.npy").unlink()
    assert float(done.stdout) < 0.25  # GiB, of the 0.3 that were read, and four times as much as floats


@pytest.mark.slow
def test_a_million_rows_train_within_3_gb_as_fast_as_from_memory(tmp_path):
    """The default network on 4 x 64 x 64, 16 rows a step: 16 GB in files and a few rows in memory in turn."""
    script = """
import resource, statistics, time
import numpy as np, torch
from jointdiff import config as cfg
from jointdiff.data import SOURCES, Items, Pairs, Stored
from jointdiff.trainer import Trainer
SOURCES["bands"] = lambda root, split: Items(np.random.default_rng(0).uniform(-1, 1, (8, 4, 64, 64)), np.zeros(8, dtype=int))
c = cfg.default()
c.data.root, c.data.grid, c.data.modalities, c.train.batch = "data", (64, 64), ("bands",), 16
c.modality.bands = cfg.modality("array", "bands", {"channels": 4})
trainer, many, few = Trainer(c, "run"), 10**6, 4096
with open("bands.npy", "wb") as file:
    shape = (many, 4, 64, 64)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    file.truncate(file.tell() + int(np.prod(shape)))
held = lambda values, n: Pairs({"bands": values}, {"bands": np.zeros(n, dtype=np.int64)})
memory = torch.zeros(few, 4, 64, 64, dtype=torch.uint8)
sources, seconds = {"files": held(Stored("bands.npy"), many), "memory": held(memory, few)}, {}
for round in range(11):
    for place, pairs in sources.items():
        trainer.batches.pairs = pairs
        began = time.perf_counter()
        trainer.update()
        seconds.setdefault(place, []).append(time.perf_counter() - began)
medians = [statistics.median(seconds[place][1:]) for place in sources]
print(*medians, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    (tmp_path / "bands.npy").unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    files, memory, held = map(float, done.stdout.split())
    print(f"a step takes {files:.3f} s from files and {memory:.3f} s from memory, {held:.2f} GiB held")
    assert held < 3 and files < 1.05 * memory
