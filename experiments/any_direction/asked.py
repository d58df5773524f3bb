"""Is what a modality shows read better by asking several times?

    python experiments/any_direction/asked.py --model=joint                                   # 15 minutes
    python experiments/any_direction/asked.py --quick --model=runs/keypad --outdir=runs/quick

All others are drawn at once of each modality of test rows alone, not led by reading: as a sample, as one with classifier-free
guidance, and as the sample of several whose word most of them agree on (`best_of`, by vote). How often each of them shows the class
of what was given, and how often all do. Writes asked.json after every row, then asked.md, beside this file or to --outdir.
"""

import argparse
import pathlib

import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.best import best
from jointdiff.data import shown
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record, plus_minus

HERE = pathlib.Path(__file__).parent
WAYS = {"once": (1, 0.0), "once, guidance 2": (1, 2.0), "most of 8": (8, 0.0)}  # draws, and guidance


def measured(model, judges, data, given: str, word: str, num: int, seed: int, of: int, **how) -> dict[str, float]:
    """How often each other modality, drawn of `num` test rows of this seed's own, shows their class, and how often all do."""
    values, _, labels, _ = data.rows(seed * num, num)
    drawn = best(model, {given: values[given]}, num, of, target=word, seed=seed, **how)
    right = {n: judges[n].judge(drawn[n]) == shown(data, n, labels) for n in model.layout.names if n != given}
    right["all"] = torch.stack(list(right.values())).all(0)
    return {n: float(r.double().mean()) for n, r in right.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="joint", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--word", default="text", help="the modality that is voted on")
    parser.add_argument("--given", nargs="+", help="of these modalities alone")
    parser.add_argument("--num", type=int, default=100, help="test rows a figure and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, steps = (8, 2, 2) if args.quick else (args.num, args.seeds, 18)
    model = jointdiff.load(args.model)
    givens = args.given or [n for n in model.layout.names if n != args.word]
    model.layout.check([args.word, *givens])
    model.config.sample.guidance_between = (0.0, 1.0)
    judges, data = build_judges(model.config, model.modalities), build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "word": args.word, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "asked.json", setting, rows=[])
    result["ceilings"] = {n: ceiling(judges[n], model.config, n, m) for n, m in model.modalities.items()}
    done = {(r["given"], r["way"]) for r in result["rows"]}
    work = [(given, way) for given in givens for way in WAYS if (given, way) not in done]
    for given, way in tqdm(work, unit="row", disable=None):
        of, guidance = WAYS[way]
        how = {"steps": steps, "guidance": guidance, "reading": {}}
        figures = [measured(model, judges, data, given, args.word, num, seed, of, **how) for seed in range(seeds)]
        row = {"given": given, "way": way, "evaluations": of * model.cost(**how)}
        result["rows"].append({**row, "figures": figures})
        result.save()
    (args.outdir / "asked.md").write_text(table(result))
    print(table(result))


def table(result) -> str:
    """Markdown, a row a modality and way, mean and standard deviation over seeds."""
    names = [*result["ceilings"], "all"]
    lines = [
        f"| given | asked | evaluations | {' | '.join(f'→ {n}' for n in names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for row in sorted(result["rows"], key=lambda r: (names.index(r["given"]), [*WAYS].index(r["way"]))):
        figures = {n: [f[n] for f in row["figures"]] for n in row["figures"][0]}
        cells = {n: plus_minus(v) for n, v in figures.items()}
        line = " | ".join(cells.get(n, "") for n in names)
        lines.append(f"| {row['given']} | {row['way']} | {row['evaluations']} | {line} |")
    ceilings = " | ".join(f"{c:.3f}" for c in result["ceilings"].values())
    return "\n".join([*lines, f"| (real test data) | | | {ceilings} | |"]) + "\n"


if __name__ == "__main__":
    main()
