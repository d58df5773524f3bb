"""A condition that is noisy, blurred, misspelt or partly missing: who notices, and who is honest about it?

    python experiments/noisy_text/run.py           # the shipped model, about 40 minutes on one core; goes on where it stopped
    python experiments/noisy_text/run.py --quick   # under 2 minutes

Words and speech are spoilt, pictures are drawn from them, several of each, and their class histogram is scored against
the true class. Writes result.json after every row, then result.md and calibration.png, beside this file or to --outdir.
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data.sources import DIGITS
from jointdiff.evaluate.calibration import repeated, scores
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record
from jointdiff.streams import stream

HERE = pathlib.Path(__file__).parent
METHODS = ("clean", "matched", "held", "auto", "replace")
LABELS = {
    "clean": "taken as clean",
    "matched": "noise matched: drawn first",
    "held": "noise matched: held",
    "auto": "noise estimated",
    "replace": "replacement",
}
SPOILS = {  # strengths; noise and blur in channels' units and pixels, letters, and the share of the grid
    "noise": (0.0, 0.25, 0.5, 0.75, 1.0, 2.0),
    "blur": (0.5, 1.0, 2.0),
    "misspelt": (1, 2),
    "missing": (0.25, 0.5),
}


def spoil(model, kind, strength, name, values, labels, seed):
    """The channels after the damage."""
    g = stream(seed, 91)
    if kind == "noise":
        return values + strength * torch.randn(values.shape, generator=g)
    if kind == "blur":
        return gaussian_blur(values, 2 * int(3 * strength + 1) + 1, strength)
    if kind == "missing":  # a bar of the grid is blank
        wide = int(strength * values.shape[3])
        out = values.clone()
        for row, start in zip(out, torch.randint(values.shape[3] - wide + 1, (len(values),), generator=g).tolist()):
            row[..., start : start + wide] = -1
        return out
    words = []
    for label in labels.tolist():
        word = list(DIGITS[label])
        for place in torch.randperm(len(word), generator=g)[:strength].tolist():
            word[place] = "abcdefghijklmnopqrstuvwxyz"[int(torch.randint(26, (1,), generator=g))]
        words.append("".join(word))
    return model.modalities[name].encode(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=64, help="conditions")
    parser.add_argument("--repeats", type=int, default=10, help="samples a condition")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, repeats, steps = (6, 3, 4) if args.quick else (args.num, args.repeats, args.steps)
    model = jointdiff.load(args.model)
    judges = build_judges(model.config, model.modalities)
    values, _, labels, _ = build.data(model.config, model.modalities, "test").rows(0, num)
    setting = {"model": args.model, "num": num, "repeats": repeats, "steps": steps, "seed": args.seed}
    result = Record(args.outdir / "result.json", setting, rows=[])
    done = {(r["given"], r["spoilt"], r["strength"], r["method"]) for r in result["rows"]}
    work = []
    for name in ("text", "audio"):
        for kind, strengths in SPOILS.items():
            if kind == "misspelt" and name != "text":
                continue
            for strength in strengths[1:2] if args.quick else strengths:
                # only noise has a level to match; what else is wrong is for the network to tell
                methods = METHODS if kind == "noise" else ("clean", "auto", "replace")
                work += [(name, kind, strength, m) for m in methods if (name, kind, strength, m) not in done]
    for name, kind, strength, method in tqdm(work, disable=None, unit="row"):
        seen = spoil(model, kind, strength, name, values[name], labels, args.seed)
        level = {"matched": strength, "held": strength, "auto": "auto"}.get(method, 0.0)
        if level == "auto":
            level = model.noise_level(name, seen, args.seed)
        found = level if isinstance(level, torch.Tensor) else torch.full((num,), float(level))
        model.config.sample.given_noise = "held" if method == "held" else "drawn"
        classes = repeated(
            model,
            judges["image"],
            {name: seen},
            "image",
            repeats,
            args.seed,
            {name: found} if found.any() else None,
            condition="replace" if method == "replace" else "clean",
            steps=steps,
            guidance=0.0,
        )
        row = {"given": name, "spoilt": kind, "strength": strength, "method": method}
        row |= scores(classes, labels, len(DIGITS))
        row["level"], row["level spread"] = float(found.mean()), float(found.std())
        result["rows"].append(row)
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    picture(result).savefig(args.outdir / "calibration.png", dpi=110)
    print(table(result))


def table(result) -> str:
    """Markdown: a row a damage and method."""
    figures = ("coherence", "nll", "brier", "ece", "level")
    out = [
        "| given | damage | strength | method | " + " | ".join(figures) + " |",
        "|---|---|---|---|" + "---|" * len(figures),
    ]
    for r in result["rows"]:
        cells = " | ".join(f"{r[f]:.3f}" for f in figures)
        out.append(f"| {r['given']} | {r['spoilt']} | {r['strength']:g} | {r['method']} | {cells} |")
    return "\n".join(out) + "\n"


def picture(result):
    """NLL and coherence against the noise in the condition."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained", sharex=True)
    for column, name in enumerate(("text", "audio")):
        for line, (figure_name, title) in enumerate(
            (("nll", "NLL of the class histogram"), ("coherence", "coherence"))
        ):
            axis = axes[line, column]
            for i, method in enumerate(METHODS):
                rows = [r for r in result["rows"] if (r["given"], r["spoilt"], r["method"]) == (name, "noise", method)]
                rows.sort(key=lambda r: r["strength"])
                label = LABELS[method]
                axis.plot(
                    [r["strength"] for r in rows], [r[figure_name] for r in rows], "o-", color=f"C{i}", label=label
                )
            axis.set(
                title=f"{'words' if name == 'text' else 'speech'} to pictures: {title}", xlabel="noise in the condition"
            )
            axis.grid(alpha=0.3)
    axes[0, 0].legend()
    return figure


if __name__ == "__main__":
    main()
