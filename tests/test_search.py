"""Search, against mutual information that is known, and on files of every kind."""

import json
import math

import numpy as np
import PIL.Image
import pytest
import torch
from scipy.io import wavfile
from test_partners import exact

from jointdiff import hub
from jointdiff.search import Index, best_of, directions, information


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_information_is_the_gaussians_own(rho):
    """log p(b | a) - log p(b) of 64 pairs of pixels, up to the noise levels that it is summed over."""
    model, values = exact(rho, 8)
    a, b = values["a"][:1], values["b"][:40]
    found = information(model, {"a": a}, "b", b, levels=60)
    x, y = a.flatten(1) / 0.5, b.flatten(1) / 0.5
    inside = -0.5 * math.log(1 - rho**2) - (y - rho * x).square() / (2 * (1 - rho**2)) + y.square() / 2
    true = inside.sum(1)
    assert (found - true).abs().median() < 0.12 * true.abs().median() + 0.5, (found[:5], true[:5])
    if rho:
        assert torch.corrcoef(torch.stack([found, true]))[0, 1] > 0.95
    else:
        assert found.abs().max() < 0.5


def test_what_is_expected_is_the_posterior_mean():
    model, values = exact(0.8, 8)
    found = model.expected({"a": values["a"][:70]})
    assert torch.equal(found["a"], values["a"][:70])
    assert torch.allclose(found["b"], 0.8 * values["a"][:70], atol=0.01)
    nothing = model.expected({})
    assert nothing["a"].shape == (1, 1, 8, 8) and nothing["a"].abs().max() < 0.01


def test_partners_have_the_direction_in_common():
    model, values = exact(0.9, 8)
    a, b = (directions(model, {n: values[n][:50]}) for n in "ab")
    assert torch.allclose(a.norm(dim=1), torch.ones(50), atol=1e-5)
    assert ((a @ b.T).argmax(1) == torch.arange(50)).all()


@pytest.fixture
def folder(tmp_path):
    """Loose files, and the same as a table."""
    home = tmp_path / "files"
    home.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        PIL.Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(home / f"{i}.png")
    for i in range(2):
        wavfile.write(home / f"{i}.wav", 8000, rng.normal(0, 3000, 2000).astype(np.int16))
    (tmp_path / "t.csv").write_text("image,text\nfiles/0.png,one\nfiles/1.png,two\n,six\n")
    return tmp_path


def test_files_find_the_modality_that_reads_them(folder, workdir):
    model = hub.load(workdir)
    index = Index.read(model, folder / "files")
    assert index.labels == {"image": ["0.png", "1.png", "2.png"], "audio": ["0.wav", "1.wav"]}
    table = Index.read(model, folder / "t.csv")
    assert table.labels["text"] == ["one", "two", "six"] and len(table.items["image"]) == 2
    assert torch.equal(table.items["image"], index.items["image"][:2])
    for by in ("likelihood", "expectation"):
        scores = index.search(model, {"text": "six"}, by)
        assert {n: len(s) for n, s in scores.items()} == {"image": 3, "audio": 2}
        ranked = best_of(scores, 5)
        assert [s for _, _, s in ranked] == sorted((float(v) for s in scores.values() for v in s), reverse=True)
    assert list(table.search(model, {"image": index.items["image"][:1]})) == ["text"]


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda m, p: Index.read(m, p / "nowhere"), "no manifest at"),
        (lambda m, p: Index.read(m, p / "files").search(m, {}), "needs a query"),
        (
            lambda m, p: Index.read(m, p / "t.csv").search(m, {"text": "one", "image": torch.zeros(1, 1, 16, 16)}),
            "of another modality",
        ),
        (lambda m, p: Index.read(m, p / "files").search(m, {"text": "one"}, "magic"), "search by 'magic'"),
        (lambda m, p: information(m, {"text": "one"}, "text", torch.zeros(1, 1, 16, 16)), "both the query and"),
    ],
)
def test_a_search_that_cannot_be_is_said(ask, message, folder, workdir):
    with pytest.raises(ValueError, match=message):
        ask(hub.load(workdir), folder)


def test_a_file_that_nobody_reads_is_said(folder, workdir):
    (folder / "files" / "x.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="x.npy: image: .*put files into folders"):
        Index.read(hub.load(workdir), folder / "files")


def test_the_command_writes_a_ranking_and_a_sheet(folder, command, capsys):
    out = command(mode="search", query=["text=six"], index=str(folder / "files"), by="expectation")
    ranking = json.loads((out / "ranking.json").read_text())["ranking"]
    assert len(ranking) == 5 and {r["modality"] for r in ranking} == {"image", "audio"}
    assert PIL.Image.open(out / "sheet.png").width > 100
    assert "3 of image, 2 of audio" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="needs --query"):
        command(mode="search", query=["text=six"], index=None)
    with pytest.raises(SystemExit, match="expected NAME=VALUE"):
        command(mode="search", query=["text"], index=str(folder / "files"))


def test_a_graph_of_ones_own_files(command, folder, tmp_path, capsys):
    out = command(mode="graph", index=str(folder / "t.csv"), path=["six", "image"])
    assert sorted(p.name for p in out.iterdir()) == ["graph.graphml", "graph.png"]
    said = capsys.readouterr().out
    assert "six -> " in said and "written to" in said
    with pytest.raises(SystemExit, match="a graph needs --index"):
        command(mode="graph", index=None, outdir=str(tmp_path / "b"))
    with pytest.raises(SystemExit, match="no node is called 'sixty'"):
        command(mode="graph", index=str(folder / "t.csv"), path=["sixty", "image"], outdir=str(tmp_path / "c"))
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()
