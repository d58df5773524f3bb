"""A user's own table: what is proposed, what is read, and what is said of what cannot be."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from scipy.io import wavfile

import jointdiff
from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import Manifest
from jointdiff.modalities.array import Array
from jointdiff.trainer import Trainer
from jointdiff.training import fit


def folder(path, rows=20):
    """Pictures of 12 x 8, 16-bit arrays, npy arrays of two channels, sounds and words; every third row lacks its sound."""
    rng = np.random.default_rng(0)
    lines = ["photo,depth,bands,sound,word,label,split"]
    for i in range(rows):
        PIL.Image.fromarray(rng.integers(0, 255, (12, 8, 3), dtype=np.uint8)).save(path / f"{i}.png")
        PIL.Image.fromarray(rng.integers(0, 40000, (12, 8), dtype=np.uint16)).save(path / f"d{i}.png")
        np.save(path / f"b{i}.npy", rng.normal(100 * (i % 2), 5, (2, 12, 8)))
        wavfile.write(path / f"{i}.wav", 4000, (rng.normal(size=1000 + 10 * i) * 3000).astype(np.int16))
        sound = "" if i % 3 == 2 else f"{i}.wav"
        split = "test" if i >= 16 else "train"
        lines.append(f"{i}.png,d{i}.png,b{i}.npy,{sound},{'odd' if i % 2 else 'even'},{i % 2},{split}")
    (path / "table.csv").write_text("\n".join(lines) + "\n")
    return path / "table.csv"


def own(manifest, **fields):
    small = {"train.steps": 2, "train.batch": 4, "backbone.unet.widths": (8, 16), "backbone.unet.blocks": (1, 1),
             "backbone.unet.attention": (False, False), "data.grid": (0, 0), "train.evaluate_every": 0}  # fmt: skip
    return cfg.changed(cfg.default(), {**small, "data.manifest": str(manifest), **fields})


def test_the_files_say_what_they_are(tmp_path):
    said = []
    c = build.resolve(own(folder(tmp_path)), said.append)
    assert tuple(c.data.grid) == (12, 8) and c.data.modalities == ("photo", "depth", "bands", "sound", "word")
    assert {n: c.modality[n].kind for n in c.modality} == {
        "photo": "image", "depth": "array", "bands": "array", "sound": "audio", "word": "text"}  # fmt: skip
    assert c.modality.photo.options.mode == "RGB" and c.modality.bands.options.channels == 2
    assert c.modality.sound.options.rate == 4000 and c.modality.sound.options.seconds == pytest.approx(0.3)
    assert c.modality.depth.options.high[0] > 30000 and c.modality.bands.options.low[0] < 100
    assert any("on a grid of 12 x 8" in line for line in said) and any("in 14 rows" in line for line in said)


def test_rows_are_aligned_and_know_what_they_lack(tmp_path):
    c = build.resolve(own(folder(tmp_path)), lambda line: None)
    modalities = build.modalities(c)
    table = build.data(c, modalities, "train")
    assert len(table) == 16 and len(build.data(c, modalities, "test")) == 4
    values, present, labels, _ = table.rows(0, 16)
    words = modalities["word"].decode(values["word"])
    assert [w == "odd" for w in words] == [bool(v) for v in labels.tolist()]
    bands = modalities["bands"].decode(values["bands"])  # a row's array is its own, in its own units
    assert [m > 50 for m in bands.mean((1, 2, 3))] == [w == "odd" for w in words]
    assert int(present[:, 3].sum()) == 11 and present[:, [0, 1, 2, 4]].all()
    assert (values["sound"][~present[:, 3]] == 0).all()
    again = table.rows(16, 16)[2]
    assert sorted(again.tolist()) == sorted(labels.tolist()) and again.tolist() != labels.tolist()


def test_texts_as_people_write_them(tmp_path):
    def proposed(*texts):
        lines = "".join(json.dumps({"note": t}) + "\n" for t in texts)
        (tmp_path / "table.jsonl").write_text(lines)
        return Manifest.open(tmp_path / "table.jsonl").propose()[1]["note"]

    kind, options = proposed("Für Élise", "op. 59")
    assert kind == "text" and options["alphabet"].endswith("FÉü") and "lines" not in options
    kind, options = proposed("one\ntwo", "three")
    assert options == {"cell": (6, 10), "lines": True}
    with pytest.raises(ValueError, match=r"200 characters.*--config.data.grid='\(120, 120\)'"):
        proposed("x" * 200)
    assert "alphabet" not in proposed("漢", "seven")[1]  # its line is named when the data are read


def test_training_sampling_and_back_to_the_datas_own_units(tmp_path):
    manifest = folder(tmp_path)
    trainer = Trainer(own(manifest), tmp_path / "run")
    fit(trainer)
    model = jointdiff.load(tmp_path / "run")
    assert model.layout.grid == (12, 8)
    value = np.load(tmp_path / "b1.npy")
    drawn = model.sample({"bands": value, "photo": tmp_path / "1.png"}, steps=2)
    assert np.allclose(drawn.raw("bands")[0], value, atol=1e-3)
    assert drawn.raw("depth").shape == (1, 1, 12, 8)
    from jointdiff.generate import generate

    generate(model, tmp_path / "out", ["sound", "word"], 3, 0, show=lambda line: None, steps=2)
    assert (tmp_path / "out" / "samples.json").exists()


def test_json_lines_may_hold_arrays(tmp_path):
    rows = [
        {"a": (np.eye(12) * i).tolist(), "b": f"t{i}"} if i % 4 else {"a": (np.eye(12) * i).tolist()} for i in range(12)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = jointdiff.train(
        {"train": {"steps": 2, "batch": 4}, "backbone": {"name": "mlp"}}, tmp_path / "run", data=tmp_path / "t.jsonl"
    )
    assert model.layout.grid == (12, 12) and set(model.layout.names) == {"a", "b"}
    assert model.modalities["a"].high[0] == 11


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    manifest = folder(tmp_path)
    (tmp_path / "0.png").unlink()
    (tmp_path / "4.wav").unlink()
    text = manifest.read_text().replace("7.png,d7.png,b7.npy,7.wav,odd", "7.png,d7.png,b7.npy,7.wav,漢")
    manifest.write_text(text)
    with pytest.raises(ValueError) as stop:
        Trainer(own(manifest), tmp_path / "run")
    assert all(part in str(stop.value) for part in ("3 of 20 rows", "line 2, photo", "line 6, sound", "line 9, word"))


def test_a_table_without_splits_keeps_a_tenth_for_tests(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "one,two\n" * 30)
    splits = Manifest.open(tmp_path / "t.csv").splits
    assert splits.count("test") == 3 and len(splits) == 30


def test_arrays_keep_their_units_and_their_values_beyond_the_range():
    array = Array((4, 6), 2, (0.0, -10.0), (1.0, 10.0))
    raw = np.random.default_rng(0).normal(0, 20, (3, 2, 4, 6))
    assert np.allclose(array.decode(array.encode(raw)), raw, atol=1e-4)
    corners = array.encode(np.stack([np.zeros((4, 6)), np.full((4, 6), 10.0)])[None])
    assert corners[0, 0, 0, 0] == -1 and corners[0, 1, 0, 0] == 1
    smooth = np.broadcast_to(np.linspace(0, 1, 12)[:, None], (8, 2, 12, 18))
    assert array.encode(smooth).shape == (8, 2, 4, 6)
    assert array.picture(torch.zeros(2, 2, 4, 6)).shape == (2, 4, 12, 3)


def test_array_files(tmp_path):
    array, rng = Array((4, 6)), np.random.default_rng(0)
    value = rng.normal(size=(4, 6))
    np.save(tmp_path / "a.npy", value)
    np.savez(tmp_path / "a.npz", value)
    deep = rng.integers(0, 65535, (4, 6), dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        PIL.Image.fromarray(deep).save(tmp_path / name)
        assert np.array_equal(array.read(tmp_path / name)[0, 0], deep)
    pages = [PIL.Image.fromarray(d) for d in (deep, deep // 2, deep // 3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    stack = Array((4, 6), channels=3, high=65535.0)
    assert np.array_equal(stack.read(tmp_path / "stack.tif")[0], np.stack([deep, deep // 2, deep // 3]))
    (tmp_path / "stacks.csv").write_text("bands\nstack.tif\nstack.tif\n")
    _, proposed = Manifest.open(tmp_path / "stacks.csv").propose(None)
    assert proposed["bands"][0] == "array" and proposed["bands"][1]["channels"] == 3
    pages[0].save(tmp_path / "uneven.tif", save_all=True, append_images=[pages[1].crop((0, 0, 3, 3))])
    with pytest.raises(ValueError, match="pages of a stack must be grey and of one size"):
        stack.read(tmp_path / "uneven.tif")
    for name in ("a.npy", "a.npz"):
        assert np.array_equal(array.read(str(tmp_path / name))[0, 0], value)
    assert np.array_equal(array.read(value)[0, 0], value)


def test_a_folder_of_folders_is_a_table(tmp_path):
    folder(tmp_path / "one" if (tmp_path / "one").mkdir() is None else None)
    whole = tmp_path / "all"
    for name, suffix in (("photo", ".png"), ("bands", ".npy"), ("note", ".txt")):
        (whole / name).mkdir(parents=True)
        for i in range(20):
            if suffix == ".txt":
                (whole / name / f"{i:02d}.txt").write_text(f"no {i}\n")
            elif (i, name) != (7, "bands"):
                source = tmp_path / "one" / f"{'b' if name == 'bands' else ''}{i}{suffix}"
                (whole / name / f"{i:02d}{suffix}").write_bytes(source.read_bytes())
    c = build.resolve(own(whole, **{"data.grid": (20, 40)}), lambda line: None)
    assert c.data.modalities == ("bands", "note", "photo")
    table = build.data(c, build.modalities(c), "train")
    assert len(table) == 18 and (table.index["bands"] < 0).sum() == 1
    assert "no 5" in build.modalities(c)["note"].decode(table.rows(0, 18).values["note"])
    (whole / "photo" / "03.png").write_text("no picture")
    with pytest.raises(ValueError, match="row 03, photo"):
        build.data(c, build.modalities(c), "train")
    (whole / "photo" / "03.jpg").write_text("")
    with pytest.raises(ValueError, match="two files for the row '03'"):
        Manifest.open(whole)
    for split in ("train", "test"):
        (tmp_path / "split" / split).mkdir(parents=True)
        for name in ("photo", "bands"):
            (whole / name).rename(tmp_path / "split" / split / name) if split == "train" else None
    (tmp_path / "split" / "test" / "bands").mkdir()
    np.save(tmp_path / "split" / "test" / "bands" / "x.npy", np.zeros((2, 12, 8)))
    (tmp_path / "split" / "train" / "photo" / "03.jpg").unlink()
    splits = Manifest.open(tmp_path / "split").splits
    assert splits.count("train") == 20 and splits[-1] == "test" and len(splits) == 21
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no rows with values; expected a folder a modality"):
        Manifest.open(tmp_path / "empty")


def test_parquet_tables(tmp_path):
    import pyarrow
    from pyarrow import parquet

    values = np.arange(20 * 2 * 4 * 6).reshape(20, 2, 4, 6)
    columns = {"bands": values.tolist(), "note": [f"no {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    c = build.resolve(own(tmp_path / "t.parquet", **{"data.grid": (8, 24)}), lambda line: None)
    table = build.data(c, build.modalities(c), "train")
    assert c.modality.bands.options.high[1] == values[:, 1].max() and table.classes.tolist()[:4] == [0, 1, 0, 1]
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(ValueError, match="t.parquet cannot be read"):
        Manifest.open(tmp_path / "t.parquet")
