"""Side-by-side votes between settings, kept as JSON lines, and what they say: strengths by Bradley and Terry.

p(a beats b) = 1 / (1 + exp(s_b - s_a)); a tie counts half for each. Bradley and Terry 1952, doi:10.1093/biomet/39.3-4.324.
"""

import json
import math
import os
import pathlib

import torch

RESULTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


def add(path: pathlib.Path, a: str, b: str, result: str, **more) -> None:
    """Append one vote; `result` is "a", "b" or "tie"."""
    if result not in RESULTS:
        raise ValueError(f"a vote is a, b or tie, got {result!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"a": a, "b": b, "result": result, **more}) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())  # one write: votes of several people do not mix
    finally:
        os.close(handle)


def read(path: pathlib.Path) -> list[dict]:
    """The votes; ValueError that names the line that is none."""
    if not path.is_file():
        return []
    out = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            vote = json.loads(line)
            RESULTS[vote["result"]], vote["a"], vote["b"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(f"{path}, line {number} is no vote: {line[:80]!r}") from None
        out.append(vote)
    return out


def bradley_terry(votes: list[dict], prior: float = 0.1) -> list[dict]:
    """Settings by strength, best first: `{"setting", "strength", "low", "high", "votes"}`, natural logarithm of odds, mean 0.

    95 % intervals from the curvature of the penalised likelihood. `prior` is the precision of a normal prior around 0,
    which keeps a setting that never lost finite.
    """
    names = sorted({v[side] for v in votes for side in "ab"})
    if not names:
        return []
    place = {n: i for i, n in enumerate(names)}
    a, b = (torch.tensor([place[v[side]] for v in votes]) for side in "ab")
    won = torch.tensor([RESULTS[v["result"]] for v in votes], dtype=torch.float64)
    s, n = torch.zeros(len(names), dtype=torch.float64), len(names)
    for _ in range(100):  # Newton's method on a concave function
        p = torch.sigmoid(s[a] - s[b])
        slope = torch.zeros(n, dtype=torch.float64).index_add(0, a, won - p).index_add(0, b, p - won) - prior * s
        weight = p * (1 - p)
        curve = prior * torch.eye(n, dtype=torch.float64)
        for i, j, w in zip(a.tolist(), b.tolist(), weight.tolist()):
            curve[i, i] += w
            curve[j, j] += w
            curve[i, j] -= w
            curve[j, i] -= w
        change = torch.linalg.solve(curve, slope)
        s = s + change
        if change.abs().max() < 1e-10:
            break
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    spread = (centre @ torch.linalg.inv(curve) @ centre).diagonal().clamp(min=0).sqrt()
    s = s - s.mean()
    rows = []
    for i in s.argsort(descending=True).tolist():
        half = 1.96 * float(spread[i])
        count = int(((a == i) | (b == i)).sum())
        rows.append({"setting": names[i], "strength": float(s[i]), "low": float(s[i]) - half, "high": float(s[i]) + half,
                     "votes": count})  # fmt: skip
    return rows


def summary(votes: list[dict]) -> str:
    """The strengths as a markdown table."""
    rows = bradley_terry(votes)
    if not rows:
        return "No votes yet."
    out = ["| setting | strength (95 % interval) | beats an average one | votes |", "|---|---|---|---|"]
    for r in rows:
        odds = 1 / (1 + math.exp(-r["strength"]))
        out.append(
            f"| {r['setting']} | {r['strength']:+.2f} ({r['low']:+.2f} to {r['high']:+.2f}) | {odds:.0%} | {r['votes']} |"
        )
    return "\n".join(out)
