"""Three views of a digit in a quadrant, and both their names: do views that are drawn together agree on what nobody said?

    python -m jointdiff.main --config=configs/quadrants.py --workdir=runs/quadrants
    python experiments/quadrants/run.py --model=runs/quadrants           # goes on where it stopped
    python experiments/quadrants/run.py --quick --model=runs/quadrants --outdir=runs/quick

The questions are those of Yeo and Sung 2026 (MUNITE); their figures stand in the table, with their kind of judge, a classifier of
the views. Everything is drawn at once; or a word that is not given first, then the views; or these one by one as well, each given
those before it; or apart, each given the words alone, which are all that views share. One question is added: what a word leaves
open has to be even, a quarter of the samples in every quadrant and a tenth of them for every digit. A word takes 18 steps where it
has a turn of its own, all else the config's. Writes result.json after every question, then result.md and samples.png, beside this
file or to --outdir. Last, how both depend on the number of steps.
"""

import argparse
import math
import pathlib
import statistics

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data.quadrants import QUADRANTS
from jointdiff.data.sources import DIGITS
from jointdiff.evaluate.judge import build_judges, ceiling, train_judge
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
VIEWS, WORDS = ("view0", "view1", "view2"), {"digit": DIGITS, "quadrant": QUADRANTS}
DRAWN = {  # with everything else drawn, the first question to it
    (): "nothing → digit of all three views = word",
    ("digit",): "digit → three views agree on the quadrant",
    ("quadrant",): "quadrant → three views agree on the digit",
}
ALONE = {  # a view alone: from these words, after those that are drawn first
    "digit → a view, digit right": (("digit",), ()),
    "digit → a view, digit right, words first": (("digit",), ("quadrant",)),
    "digit and quadrant → a view, both right": (("digit", "quadrant"), ()),
}
WAYS = {  # of drawing: what is not given in which order; all at once when it has none
    "": lambda words: None,
    ", words first": lambda words: [*words, VIEWS],
    ", one by one": lambda words: [*words, *VIEWS],
    ", apart": lambda words: [*words, frozenset(VIEWS)],
}
WORD_STEPS, STEPS = 18, (4, 6, 9, 12, 18)
# question: published with 32, 20, 21 and 19 M parameters; the second is a joint flow (Yeo and Sung 2026, table 1)
PUBLISHED = {
    "nothing → digit of all three views = word": (0.580, 0.024, 0.297, 0.983),
    "nothing → quadrant of all three views = word": (0.904, 0.990, 0.822, 1.000),
    "digit → a view, digit right": (0.984, 0.240, 0.722, 0.994),
    "digit and quadrant → a view, both right": (0.993, 0.220, 0.733, 0.994),
    "digit → three views agree on the quadrant": (0.253, 0.988, 0.880, 1.000),
    "quadrant → three views agree on the digit": (0.107, 0.160, 0.461, 0.990),
}
COLUMNS = ("MUNI, 32 M", "joint flow, 20 M", "discrete joint flow, 21 M", "MUNITE, 19 M")


def in_turns(order, steps: tuple[int, int]) -> dict:
    """How `Model.sample` draws in this order, or at once where there is none: in steps of a turn of one word, and of all others."""
    if order is None:
        return {"steps": steps[1]}
    return {"order": order, "steps": [steps[0] if turn in WORDS else steps[1] for turn in order]}


def seen(judges, drawn) -> dict[str, dict[str, torch.Tensor]]:
    """What is read of everything drawn: `{"digit": {name: (B,)}, "quadrant": {name: (B,)}}`."""
    read = {n: judges[n].judge(v) for n, v in drawn.items()}
    views = {n: r for n, r in read.items() if n in VIEWS}  # of the 40 worlds
    return {
        "digit": {n: r // 4 for n, r in views.items()} | {n: r for n, r in read.items() if n == "digit"},
        "quadrant": {n: r % 4 for n, r in views.items()} | {n: r for n, r in read.items() if n == "quadrant"},
    }


def agree(read: dict[str, torch.Tensor], *names: str) -> torch.Tensor:
    """Which samples show the same in all of these, `(B,)` bool."""
    return torch.stack([read[n] == read[names[0]] for n in names]).all(0)


def share(right: torch.Tensor) -> float:
    return float(right.double().mean())


def told(data, given, num: int, seed: int) -> tuple[dict, torch.Tensor]:
    """The values of these modalities of `num` test rows, and the rows' worlds."""
    values, _, labels, _ = data.rows(seed * num, num)
    return {n: values[n] for n in given}, labels


def together(model, judges, data, given, num: int, seed: int, **how) -> tuple[dict, dict]:
    """Everything else drawn from these: the figures, and how often what was left open came out as what."""
    y, _ = told(data, given, num, seed)
    read = seen(judges, model.sample(y, num=num, seed=seed, **how))
    if not given:
        return {
            f"nothing → {what} of all three views = word": share(agree(read[what], *VIEWS, what)) for what in WORDS
        }, {}
    (other,) = set(WORDS) - set(given)
    same = agree(read[other], *VIEWS)
    count = torch.bincount(read[other]["view0"][same], minlength=len(WORDS[other])).tolist()
    return {f"{given[0]} → three views agree on the {other}": share(same)}, {other: count}


def single(model, judges, data, given, first, num: int, seed: int, steps: tuple[int, int]) -> float:
    """Each view drawn from these words, after those that are to be drawn `first`: how often it shows all that was said, the mean
    over views."""
    y, worlds = told(data, given, num, seed)
    known, found = {"digit": worlds // 4, "quadrant": worlds % 4}, []
    for view in VIEWS:
        others = [n for n in model.layout.names if n not in (view, *given, *first)]
        how = in_turns([*first, view] if first else None, steps)
        read = seen(judges, {view: model.sample(y, num, seed, others, **how)[view]})
        found.append(share(torch.stack([read[n][view] == known[n] for n in given]).all(0)))
    return statistics.fmean(found)


def spelt(model, judges, num: int, seed: int, steps: int) -> float:
    """How often both words are names when they are drawn alone, one after the other."""
    drawn = model.sample(num=num, seed=seed, leave_out=VIEWS, order=list(WORDS), steps=steps)
    return share(torch.stack([judges[n].judge(drawn[n]) >= 0 for n in WORDS]).all(0))


def uneven(count: list[int]) -> tuple[float, float]:
    """KL of these counts to even ones in nats, and what it is on average for as many draws that are even."""
    kl = lambda c: sum(p * math.log(p * len(c)) for p in np.asarray(c) / max(sum(c), 1) if p)
    rng, even = np.random.default_rng(0), [1 / len(count)] * len(count)
    return kl(count), statistics.fmean(kl(rng.multinomial(sum(count), even)) for _ in range(400))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=200, help="samples a question and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, counts = (12, 2, (2, 3)) if args.quick else (args.num, args.seeds, STEPS)
    model = jointdiff.load(args.model)
    steps = (2, 2) if args.quick else (WORD_STEPS, model.config.sample.steps)
    data = build.data(model.config, model.modalities, "test")
    if args.quick:
        judges = {n: train_judge(model.config, n, model.modalities[n], updates=20) for n in VIEWS}
        judges |= build_judges(model.config, {n: model.modalities[n] for n in WORDS})
    else:
        judges = build_judges(model.config, model.modalities)
    setting = {"model": args.model, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, ceilings={}, figures=[], left_open={}, steps={})
    result["parameters"] = sum(p.numel() for p in model.denoiser.network.parameters())
    result["ceilings"] = result["ceilings"] or {
        n: ceiling(judges[n], model.config, n, model.modalities[n]) for n in VIEWS
    }
    result["figures"] += [{} for _ in range(seeds - len(result["figures"]))]
    work = [(seed, question, way) for seed in range(seeds) for question in DRAWN.values() for way in WAYS]
    work += [(seed, question, "") for seed in range(seeds) for question in ALONE]
    work = [(seed, question, way) for seed, question, way in work if question + way not in result["figures"][seed]]
    for seed, question, way in tqdm(work, unit="question", disable=None):
        figures = result["figures"][seed]
        if question in ALONE:
            figures[question] = single(model, judges, data, *ALONE[question], num, seed, steps)
        else:
            given = next(g for g, q in DRAWN.items() if q == question)
            order = WAYS[way]([w for w in WORDS if w not in given])
            more, open_ = together(model, judges, data, given, num, seed, **in_turns(order, steps))
            figures |= {name + way: figure for name, figure in more.items()}
            for name, count in open_.items():
                before = result["left_open"].get(name + way, [0] * len(count))
                result["left_open"][name + way] = [a + b for a, b in zip(before, count)]
        result.save()
    missing = [n for n in counts if str(n) not in result["steps"]]
    for n, seed in tqdm([(n, seed) for n in missing for seed in range(seeds)], unit="set", disable=None):
        both = [spelt(model, judges, num, seed, n), single(model, judges, data, tuple(WORDS), (), num, seed, (n, n))]
        result["steps"].setdefault(str(n), []).append(both)
        if len(result["steps"][str(n)]) == seeds:
            result.save()
    (args.outdir / "result.md").write_text(table(result))
    shown(model, steps).save(args.outdir / "samples.png")
    print(table(result))


def table(result) -> str:
    """Markdown: a row a question, with what is published beside it; then how even what was left open is."""
    lines = [f"| question | at once | words first | one by one | apart | {' | '.join(COLUMNS)} |", "|---|" + "---|" * 8]
    for question, published in PUBLISHED.items():
        asked = [[f[question + way] for f in result["figures"] if question + way in f] for way in WAYS]
        here = [plus_minus(v) if v else "" for v in asked]
        lines.append(f"| {question} | {' | '.join(here)} | {' | '.join(f'{p:.3f}' for p in published)} |")
    lines += ["", "| left open | rarest | most frequent | KL to even, nats | of even draws |", "|---|---|---|---|---|"]
    for what, count in result["left_open"].items():
        kl, even = uneven(count)
        names = WORDS[what.split(",")[0]]
        ends = [f"{names[count.index(c)]} {c / max(sum(count), 1):.3f}" for c in (min(count), max(count))]
        lines.append(f"| {what} | {' | '.join(ends)} | {kl:.3f} | {even:.3f} |")
    lines += ["", "| steps | both words are names | both words → a view, both right |", "|---|---|---|"]
    lines += [f"| {n} | {' | '.join(map(plus_minus, zip(*both)))} |" for n, both in result["steps"].items()]
    lines += [
        "",
        f"{result['parameters']} parameters. Judges of digit and quadrant on real test views: "
        + ", ".join(f"{n} {c:.3f}" for n, c in result["ceilings"].items()) + ".",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def shown(model, steps: tuple[int, int]) -> PIL.Image.Image:
    """Rows from nothing, from a digit's word, and from a quadrant's."""
    parts = []
    for y in ({}, {"digit": "seven"}, {"quadrant": "upper\nleft"}):
        given = {n: model.modalities[n].encode([v] * 6) for n, v in y.items()}
        how = in_turns(WAYS[", apart"]([w for w in WORDS if w not in given]), steps)
        rows = {**given, **model.sample(given, num=6, seed=0, **how)}
        parts.append(titled(grid_picture(model.modalities, rows, given), f"from {' '.join(y) or 'nothing'}"))
    return PIL.Image.fromarray(beside(parts))


if __name__ == "__main__":
    main()
