"""What is asked of two handwritten digits, as a text: their sum, the larger, or the difference; one network answers all three.

    python -m jointdiff.main --config=configs/sums.py:questions --workdir=runs/questions   # from the shipped weights
    python experiments/sums/questions.py --model=runs/questions

Test digits that training never saw. Writes questions.json and questions.md beside this file or to --outdir.
"""

import argparse
import pathlib
import statistics

import torch
from run import DIGITS, THINK

import jointdiff
from jointdiff import build
from jointdiff.data import shown
from jointdiff.evaluate.coherence import fitting
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
WAYS = {"at once": {"leave_out": ["rationale"]}, "rationale first": {"order": THINK}}


def answered(model, judges, data, way: str, num: int, seed: int, **how) -> dict[str, list[int]]:
    """`{question: [rows, right]}` of `num` test rows."""
    values, _, labels, _ = data.rows(seed * num, num)
    given = (*DIGITS, "question")
    drawn = model.sample({n: values[n] for n in given}, num, seed=seed, **WAYS[way], **how)
    read = {n: shown(data, n, labels) for n in given} | {"answer": judges["answer"].judge(drawn["answer"])}
    right, asked = fitting(read, data.shows), model.modalities["question"].decode(values["question"])
    return {q: [sum(a == q for a in asked), sum(bool(r) for r, a in zip(right, asked) if a == q)] for q in set(asked)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=500, help="test rows a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, how = (24, 2, {"steps": 2}) if args.quick else (args.num, args.seeds, {})
    model = jointdiff.load(args.model)
    data, judges = build.data(model.config, model.modalities, "test"), build_judges(model.config, model.modalities)
    result = Record(args.outdir / "questions.json", {"num": num, "seeds": seeds, "quick": args.quick}, ways={})
    for way in WAYS:
        if way not in result["ways"]:
            result["ways"][way] = [answered(model, judges, data, way, num, seed, **how) for seed in range(seeds)]
            result.save()
    lines = ["| question | " + " | ".join(WAYS) + " |", "|---|" + "---|" * len(WAYS)]
    for question in sorted(set().union(*(counts for ways in result["ways"].values() for counts in ways))):
        shares = [[c[question][1] / c[question][0] for c in result["ways"][way] if question in c] for way in WAYS]
        cells = [
            f"{statistics.fmean(s):.3f} ± {statistics.pstdev(s) if len(s) < 2 else statistics.stdev(s):.3f}"
            for s in shares
        ]
        lines.append(f"| {question} | {' | '.join(cells)} |")
    (args.outdir / "questions.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
