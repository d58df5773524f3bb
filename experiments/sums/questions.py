"""What is asked of two handwritten digits, as a text: their sum, the larger, or the difference; one network answers all three.

    python -m jointdiff.main --config=configs/sums.py:questions --workdir=runs/questions   # from the shipped weights
    python experiments/sums/questions.py --model=runs/questions

Test digits that training never saw. Writes questions.json and questions.md beside this file or to --outdir.
"""

import argparse
import pathlib

import torch
from run import DIGITS, THINK, fits
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record, plus_minus

HERE = pathlib.Path(__file__).parent
WAYS = {"at once": {"leave_out": ["rationale"]}, "rationale first": {"order": THINK}}


def answered(model, judges, data, way: str, num: int, seed: int, **how) -> dict[str, list[int]]:
    """`{question: [rows, right]}` of `num` test rows."""
    right = fits(model, judges, data, (*DIGITS, "question"), ("answer",), {**WAYS[way], **how}, num, seed)
    asked = model.modalities["question"].decode(data.rows(seed * num, num).values["question"])
    return {q: [asked.count(q), sum(bool(r) for r, a in zip(right, asked) if a == q)] for q in sorted(set(asked))}


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
    setting = {"model": args.model, "num": num, "seeds": seeds}
    result = Record(args.outdir / "questions.json", setting, ways={})
    for way in WAYS:
        if way not in result["ways"]:
            rounds = tqdm(range(seeds), desc=way, unit="seed", disable=None)
            result["ways"][way] = [answered(model, judges, data, way, num, seed, **how) for seed in rounds]
            result.save()
    lines = ["| question | " + " | ".join(WAYS) + " |", "|---|" + "---|" * len(WAYS)]
    for question in result["ways"]["at once"][0]:
        shares = [[c[question][1] / c[question][0] for c in result["ways"][way]] for way in WAYS]
        cells = [plus_minus(s) for s in shares]
        lines.append(f"| {question} | {' | '.join(cells)} |")
    (args.outdir / "questions.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
