"""Is a word with noise believed as Bayes' rule believes it, and do patterns with more noise that differs cure it where it is not?

    python experiments/conflict/cure.py --workdir=runs/cure           # about an hour on one core; goes on where it stopped
    python experiments/conflict/cure.py --workdir=/tmp/runs --quick --outdir=/tmp/quick

A word with noise against a clean picture, or a clean voice, of another digit. Given the class the modalities of `digits` are
independent, so p(class | both) is proportional to p(word | class) p(class | other): the first is known, for a rendered word and
normal noise, the second a calibrated judge's. Measured of the shipped weights, of these trained on as they were, and of these
trained on with most rows noisy, each modality at a level of its own; and what the usual directions lose. Writes cure.json after
every model, then cure.md and cure.png, beside this file or to --outdir.
"""

import argparse
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from run import by_class
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data.sources import DIGITS
from jointdiff.evaluate.coherence import noised
from jointdiff.evaluate.conflict import conflict, opponents
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.trainer import Trainer
from jointdiff.training import fit

HERE = pathlib.Path(__file__).parent
AGAINST = {"image": "audio", "audio": "image"}  # what is given beside the word, and what is drawn then
LEVELS = (0.5, 1.0, 2.0, 3.0, 4.0)
HELD = 2000  # test rows from here on calibrate the judges; conflicts are made of those before
MODELS = {
    "shipped": None,
    "trained on": {},
    "mostly independent": {
        "loss.pattern": {"joint": 0.1, "conditional": 0.15, "independent": 0.6, "absent": 0.15},
        "loss.log_ratio.independent": (0.0, 2.0),
    },
}


def trained(name: str, base: str, workdir: pathlib.Path, steps: int):
    """The base, or a model trained on from it for some steps, as it was or with other patterns."""
    model = jointdiff.load(base)
    if MODELS[name] is None:
        return model
    start = {"train.stages": (), "train.init": base, "train.steps": steps, "train.evaluate_every": 0}
    trainer = Trainer(cfg.changed(model.config, start | MODELS[name]), workdir / name.replace(" ", "_"))
    if not fit(trainer):
        raise SystemExit("stopped; the same command goes on from here")
    return trainer.model()


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """What a classifier's logits are divided by to be calibrated (Guo et al. 2017, arXiv:1706.04599, section 4.2)."""
    grid = torch.logspace(-1, 1, 201)
    return float(min(grid, key=lambda t: torch.nn.functional.cross_entropy(logits / t, labels)))


def bayes(words: torch.Tensor, noisy: torch.Tensor, level: float, other: torch.Tensor) -> torch.Tensor:
    """p(class | a word with noise, another modality), `(B, K)`, of the K words' channels and of log p(class | other), `(B, K)`."""
    far = (noisy.flatten(1)[:, None] - words.flatten(1)).square().sum(2)
    return (other - far / (2 * level**2)).softmax(1)


def believed(
    model, judges, data, against: str, level: float, num: int, seed: int, heat: float, **how
) -> dict[str, float]:
    """How often what is drawn shows the word's class, and how often it should."""
    values, _, labels, _ = data.rows(seed * num, num)
    rival = opponents(labels)
    noisy = noised(values["text"], level, seed, 0)  # as `conflict` does
    words = model.modalities["text"].encode(list(DIGITS))
    with torch.no_grad():
        log = (judges[against](values[against][rival]) / heat).log_softmax(1)
    target = AGAINST[against]
    shares = conflict(
        model, judges[target], data, ("text", against), target, num, seed, seed * num, (level, 0.0), **how
    )
    ideal = bayes(words, noisy, level, log).gather(1, labels[:, None]).mean()
    return {"drawn": shares["text"], "Bayes": float(ideal)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--base", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--num", type=int, default=40, help="rows of a figure and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, steps, how = (12, 2, 2, {"steps": 2}) if args.quick else (args.num, args.seeds, args.steps, {})
    levels = LEVELS[::2] if args.quick else LEVELS
    base = jointdiff.load(args.base)
    judges, data = build_judges(base.config, base.modalities), build.data(base.config, base.modalities, "test")
    setting = {"base": args.base, "steps": steps, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "cure.json", setting, temperatures={}, models={})
    few = min(HELD, len(data) // 2)
    held, _, labels, _ = data.rows(few, len(data) - few)
    with torch.no_grad():
        heats = {n: temperature(judges[n](held[n]), labels) for n in AGAINST}
    result["temperatures"] = heats
    for name in (n for n in MODELS if n not in result["models"]):
        model, rows, usual = trained(name, args.base, args.workdir, steps), [], {}
        work = [(a, level, s) for a in AGAINST for level in levels for s in range(seeds)]
        for against, level, seed in tqdm(work, desc=name, unit="figure", disable=None):
            found = believed(model, judges, data, against, level, num, seed, heats[against], **how)
            rows.append({"against": against, "noise": level, "seed": seed, **found})
        ways = [(a, b) for a in model.layout.names for b in model.layout.names if a != b]
        for a, b in tqdm(ways, desc=name, unit="direction", disable=None):
            usual[f"{a} → {b}"] = [
                by_class(model, judges, data, a, b, 3 * num, s, **how)["classes"] for s in range(seeds)
            ]
        result["models"][name] = {"rows": rows, "usual": usual}
        result.save()
    (args.outdir / "cure.md").write_text(table(result))
    picture(result).savefig(args.outdir / "cure.png", dpi=110)
    print(table(result))


def mean(rows, against: str, level: float, what: str) -> tuple[float, float]:
    values = [r[what] for r in rows if (r["against"], r["noise"]) == (against, level)]
    return statistics.fmean(values), statistics.stdev(values)


def seen(result) -> list[tuple[str, float]]:
    return list(dict.fromkeys((r["against"], r["noise"]) for r in result["models"]["shipped"]["rows"]))


def table(result) -> str:
    """Markdown: how often the word is believed; then coherence of single directions, and of its worst class."""
    models = result["models"]
    lines = [f"| word against | its noise | Bayes | {' | '.join(models)} |", "|---|---|---|" + "---|" * len(models)]
    for at in seen(result):
        cells = ["{:.3f} ± {:.3f}".format(*mean(m["rows"], *at, "drawn")) for m in models.values()]
        ideal = mean(models["shipped"]["rows"], *at, "Bayes")[0]
        lines.append(f"| {at[0]} | {at[1]:g} | {ideal:.3f} | {' | '.join(cells)} |")
    lines += ["", "| | mean coherence, one given | worst class of a direction |", "|---|---|---|"]
    for name, found in models.items():
        by_seed = zip(*(map(share, seeds) for seeds in found["usual"].values()))
        figures = [statistics.fmean(f) for f in by_seed]
        worst = min(
            (share([seed[k] for seed in seeds]), f"{way}, {DIGITS[k]}")
            for way, seeds in found["usual"].items()
            for k in range(len(DIGITS))
        )
        lines.append(f"| {name} | {plus_minus(figures)} | {worst[0]:.3f} ({worst[1]}) |")
    return "\n".join(lines) + "\n"


def share(counts: list[list[int]]) -> float:
    """Of `[[rows, right], ...]`, the share that is right."""
    return sum(right for _, right in counts) / max(sum(count for count, _ in counts), 1)


def picture(result):
    """How often the word is believed, against its noise: a panel an opponent, a line a model, and what Bayes' rule says."""
    figure, axes = plt.subplots(1, len(AGAINST), figsize=(10, 3.8), layout="constrained", sharey=True)
    for axis, against in zip(axes, AGAINST):
        levels = [level for name, level in seen(result) if name == against]
        line = lambda rows, what, levels=levels, against=against: zip(*(mean(rows, against, l, what) for l in levels))
        for name, found in result["models"].items():
            middle, spread = line(found["rows"], "drawn")
            axis.errorbar(levels, middle, spread, marker="o", capsize=3, label=name)
        axis.plot(levels, next(line(result["models"]["shipped"]["rows"], "Bayes")), "k:", label="Bayes' rule")
        axis.set(title=f"a word against a clean {against}", xlabel="noise of the word", ylim=(-0.03, 1.03))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("believes the word")
    axes[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
