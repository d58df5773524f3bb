"""How many evaluations does a sampler need? Coherence, Frechet distance and variety of every sampler on one model.

    python experiments/solvers/run.py              # the shipped model, about 25 minutes on one core; goes on where it stopped
    python experiments/solvers/run.py --quick      # under 2 minutes

Text to picture and sound, and picture to text and sound, of test conditions. Writes result.json after every row, then
result.md and coherence_by_cost.png, beside this file or to --outdir.
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import restored
from jointdiff.evaluate import frechet, variety
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
COSTS = (4, 8, 12, 16, 24, 36, 64, 128)
# name: (sampler, options of the sampler, condition, evaluations a step, costs)
METHODS = {
    "DDIM": ("ddim", {"eta": 0.0}, "clean", 1, COSTS),
    "DDIM, ancestral": ("ddim", {"eta": 1.0}, "clean", 1, (*COSTS, 1000)),
    "DPM-Solver++ 2M": ("dpm_solver", {}, "clean", 1, COSTS),
    "Heun": ("heun", {}, "clean", 2, COSTS),
    "Heun with churn": ("stochastic_heun", {}, "clean", 2, COSTS),
    "Euler-Maruyama": ("euler_maruyama", {}, "clean", 1, (36, 128, 1000)),
    "predictor-corrector": ("predictor_corrector", {}, "clean", 2, (36, 128, 1000)),
    "predictor-corrector, replacement": ("predictor_corrector", {}, "replace", 2, (36, 128, 2000)),
    "adaptive": ("adaptive", {}, "clean", 0, (0,)),
}


def measure(model, judges, real, given, labels, num, seed, **how) -> dict:
    drawn = model.sample(given, num, seed, batch=64, **how)
    out = {"evaluations": drawn.info["evaluations"], "seconds": round(drawn.info["seconds"], 2)}
    for name in drawn:
        if name in given:
            continue
        out[f"{name} coherence"] = float((judges[name].judge(drawn[name]) == labels).double().mean())
        if name in real:
            a, (b, of) = judges[name].features(drawn[name]), real[name]
            out[f"{name} frechet"], out[f"{name} variety"] = frechet(a, b), variety(a, labels, b, of)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=64, help="conditions a direction")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, most = (12, 8) if args.quick else (args.num, 10**6)
    model = jointdiff.load(args.model)
    judges = build_judges(model.config, model.modalities)
    pairs = build.data(model.config, model.modalities, "test")
    values, _, labels, _ = pairs.rows(0, num)
    some = {
        n: slice(None, None, max(1, len(pairs.values[n]) // 2000)) for n, j in judges.items() if hasattr(j, "features")
    }
    real = {n: (judges[n].features(restored(pairs.values[n][s])), pairs.labels[n][s]) for n, s in some.items()}
    setting = {"model": args.model, "num": num, "seed": args.seed, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, rows=[])
    done = {(r["method"], r["cost"]) for r in result["rows"]}
    work = [(m, c) for m, v in METHODS.items() for c in v[4] if c <= most and (m, c) not in done]
    # the bar's length is in evaluations, what is slow is slow; an adaptive run counts as 100
    with tqdm(total=sum(c or 100 for _, c in work), disable=None, unit="evaluation") as bar:
        for method, cost in work:
            sampler, options, condition, each, _ = METHODS[method]
            model.config.sample[sampler].update(options)
            steps = {0: 2, 1: cost, 2: (cost + 1) // 2}[each]
            row = {"method": method, "cost": cost}
            for given in ("text", "image"):
                how = {"sampler": sampler, "steps": steps, "condition": condition, "guidance": 0.0}
                got = measure(model, judges, real, {given: values[given]}, labels, num, args.seed, **how)
                row["evaluations"], row["seconds"] = got.pop("evaluations"), row.get("seconds", 0) + got.pop("seconds")
                row.update({f"{given} to {k}": v for k, v in got.items()})
            share = [v for k, v in row.items() if k.endswith("coherence")]
            row["coherence"] = sum(share) / len(share)
            result["rows"].append(row)
            result.save()
            bar.update(cost or 100)
    (args.outdir / "result.md").write_text(table(result))
    picture(result).savefig(args.outdir / "coherence_by_cost.png", dpi=110)
    print(table(result))


def table(result) -> str:
    """Markdown: a row a method and cost."""
    figures = [k for k in result["rows"][0] if " to " in k]
    out = ["| sampler | evaluations | seconds | coherence | " + " | ".join(figures) + " |"]
    out.append("|---|---|---|---|" + "---|" * len(figures))
    for r in result["rows"]:
        cells = [f"{r[f]:.3f}" for f in ("coherence", *figures)]
        out.append(f"| {r['method']} | {r['evaluations']} | {r['seconds']:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def picture(result):
    """Mean coherence, and the Frechet distance of pictures, against evaluations."""
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 4.8), layout="constrained")
    names = ("coherence", "text to image frechet")
    for axis, name, title in zip(
        axes, names, ("Coherence, mean of four targets", "Frechet distance of pictures from text")
    ):
        for i, method in enumerate(METHODS):
            rows = [r for r in result["rows"] if r["method"] == method]
            if rows:
                rows.sort(key=lambda r: r["evaluations"])
                style = {"color": f"C{i}", "label": method, "marker": "o", "ms": 4}
                axis.plot([r["evaluations"] for r in rows], [r[name] for r in rows], **style)
        axis.set(xscale="log", xlabel="network evaluations of a sample", title=title)
        axis.grid(alpha=0.3)
    axes[1].set_yscale("log")
    axes[1].set_ylim(top=30)  # Heun's first points are far above
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


if __name__ == "__main__":
    main()
