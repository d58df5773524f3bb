"""Does a shipped model copy what it was trained on?

    python experiments/memorisation/run.py           # the shipped models, about 8 minutes on one core; goes on where it stopped
    python experiments/memorisation/run.py --quick   # under a minute

Samples from nothing against their nearest training items, and against held-out ones (jointdiff.evaluate.memorisation). Writes
result.json after every model and seed, then result.md and a picture of the closest pairs of each, beside this file or to --outdir.
"""

import argparse
import pathlib

import torch
from tqdm import tqdm

import jointdiff
from jointdiff.evaluate.memorisation import measure
from jointdiff.evaluate.record import Record, plus_minus

HERE = pathlib.Path(__file__).parent
FIGURES = ("z", "nearer", "median", "median of held-out")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", help="shipped weights, a workdir, or a safetensors file; repeatable"
    )
    parser.add_argument("--num", type=int, default=500, help="samples of each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds = (16, 2) if args.quick else (args.num, args.seeds)
    models = args.model or (["digits"] if args.quick else ["digits", "sums"])
    setting = {"models": models, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, rows=[])
    done = {(r["model"], r["seed"]) for r in result["rows"]}
    work = [(m, s) for m in models for s in range(seeds) if (m, s) not in done]
    for name, seed in tqdm(work, unit="seed", disable=None):
        figures, closest = measure(jointdiff.load(name), num, seed, **({"steps": 4} if args.quick else {}))
        if seed == 0:
            closest.save(args.outdir / f"{pathlib.Path(name).stem}_closest.png")
        result["rows"].append({"model": name, "seed": seed, "figures": figures})
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    print(table(result))


def table(result) -> str:
    """Markdown: a row a model and modality, over seeds."""
    lines = [f"| model | modality | {' | '.join(FIGURES)} |", "|---|---|" + "---|" * len(FIGURES)]
    for model in result["models"]:
        runs = [r["figures"] for r in result["rows"] if r["model"] == model]
        for name in runs[0]:
            cells = [plus_minus([r[name][figure] for r in runs]) for figure in FIGURES]
            lines.append(f"| {model} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
