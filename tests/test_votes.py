import math

import pytest
import torch

from jointdiff import votes


def test_strengths_of_a_known_tournament():
    """Votes drawn from known strengths are found back, inside their intervals."""
    true = {"x": 1.0, "y": 0.0, "z": -1.0}
    g = torch.Generator().manual_seed(0)
    cast = []
    for a, b in (("x", "y"), ("y", "z"), ("z", "x")):
        for win in (torch.rand(2000, generator=g) < 1 / (1 + math.exp(true[b] - true[a]))).tolist():
            cast.append({"a": a, "b": b, "result": "a" if win else "b"})
    found = votes.bradley_terry(cast)
    assert [r["setting"] for r in found] == ["x", "y", "z"]
    for r in found:
        assert r["strength"] == pytest.approx(true[r["setting"]], abs=0.12)
        assert r["low"] < true[r["setting"]] < r["high"] and r["high"] - r["low"] < 0.3


def test_a_setting_that_never_lost_stays_finite_and_ties_are_halves():
    found = votes.bradley_terry([{"a": "x", "b": "y", "result": "a"}] * 3)
    assert found[0]["setting"] == "x" and 0 < found[0]["strength"] < 5 and found[0]["high"] < 10
    found = votes.bradley_terry([{"a": "x", "b": "y", "result": "tie"}] * 5)
    assert all(abs(r["strength"]) < 1e-9 for r in found)
    assert votes.bradley_terry([]) == [] and votes.summary([]) == "No votes yet."


def test_votes_are_kept_line_by_line(tmp_path):
    path = tmp_path / "new" / "votes.jsonl"
    assert votes.read(path) == []
    votes.add(path, "heun", "ddim", "b", seed=3)
    votes.add(path, "heun", "ddim", "tie")
    assert [v["result"] for v in votes.read(path)] == ["b", "tie"] and votes.read(path)[0]["seed"] == 3
    assert "| ddim | +" in votes.summary(votes.read(path))
    with pytest.raises(ValueError, match="a vote is a, b or tie"):
        votes.add(path, "heun", "ddim", "c")
    for bad in ("{", '{"a": 1}', "[]"):
        path.write_text(bad + "\n")
        with pytest.raises(ValueError, match="line 1 is no vote"):
            votes.read(path)
