"""What makes pictures and their partners find each other soonest: one trick a row, the same start, equal core-minutes.

    python experiments/learning_speed/run.py --workdir=runs/learning_speed

Every recipe trains the network of configs/joint.py, with a narrower first level, from the same weights on one thread; at
some core-minutes (processor time of training alone) its averaged weights are kept, and judged afterwards: coherence of the
hard directions and the Frechet distance of pictures drawn from words, in the judge's features. What is done already in
--workdir is not done again.
Writes result.json, result.md and curves.png beside this file, or to --outdir.
"""

import argparse
import json
import pathlib

import torch
from tqdm import tqdm

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import restored
from jointdiff.evaluate import frechet
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import origin
from jointdiff.state import load_weights
from jointdiff.training import for_minutes

HERE = pathlib.Path(__file__).parent
PLAIN = {  # as `joint` was before: all subsets as often, all modalities at one scale
    "loss.pattern": {"joint": 0.3, "conditional": 0.45, "independent": 0.1, "absent": 0.15},
    "loss.given": {},
    "loss.weight": {},
    "scale": 1.0,
    "mirror": False,
    "align": 0.0,
    "blank": False,
}
SCALED = {
    "scale": 4.0,
    "mirror": True,
    "loss.weight": {"digit": 0.8, "picture": 1.6, "text": 0.6, "audio": 1.0},
}
ALONE = {**SCALED, "loss.given": {"picture": 9.0}}
RECIPES = {
    "plain": {},
    "scale": {"scale": 4.0},
    "scale, mirror, weights": SCALED,
    "scale, mirror, weights, alone": ALONE,
    "scale, mirror, weights, alone, align 0.5": {**ALONE, "align": 0.5},
    "scale, mirror, weights, alone, align 4": {**ALONE, "align": 4.0},
    "scale, mirror, weights, alone, align 4, blank": {**ALONE, "align": 4.0, "blank": True},
}
DIRECTIONS = {  # what is given, and how far it is guided
    "picture": (("picture",), 0.0),
    "text": (("text",), 0.0),
    "text, guided": (("text",), 1.0),
    "nothing": ((), 0.0),
}


NETWORK = {"widths": (64, 128, 192), "blocks": (1, 2, 2), "attention": (False, True, True)}


def configured(recipe: dict, seed: int, quick: bool = False):
    """The config of a recipe: configs/joint.py with its fields set; when quick, with small data that need no download."""
    config = cfg.from_file(HERE.parents[1] / "configs" / "joint.py")
    config.backbone.unet.update(NETWORK)
    if quick:
        keypad = cfg.from_file(HERE.parents[1] / "configs" / "keypad.py")
        config.data.grid = keypad.data.grid
        config.modality.digit = config.modality.picture = keypad.modality.image
        config.modality.text, config.modality.audio = keypad.modality.text, keypad.modality.audio
        config.backbone.unet.widths, config.train.batch = (16, 32, 32), 8
    fields = {**PLAIN, **recipe}
    config.seed = seed
    for name in ("pattern", "given", "weight"):
        config.loss[name] = fields[f"loss.{name}"]
    config.modality.picture.scale, config.modality.picture.mirror = fields["scale"], fields["mirror"]
    config.loss.align.modality = "picture" if fields["align"] else ""
    config.loss.align.weight = fields["align"]
    config.backbone.blank = fields["blank"]
    config.optim.decay = 0.0  # a rate that stays: every moment is then the end of a shorter run
    return config


def judged(path: pathlib.Path, num: int, steps: int, judges: dict, pairs, seed: int) -> dict:
    """Coherence of the hard directions, and the Frechet distance of the pictures drawn from words."""
    model, out = load_weights(path), {}
    values, _, labels, _ = pairs.rows(0, num)
    for label, (given, guidance) in DIRECTIONS.items():
        model.config.sample.guidance_between = (0.2, 0.9)
        drawn = model.sample({n: values[n] for n in given}, num=num, seed=seed, steps=steps, guidance=guidance)
        seen = {n: judges[n].judge(drawn[n]) for n in drawn if n not in given}
        if given:
            out |= {f"{label} -> {n}": float((s == labels).float().mean()) for n, s in seen.items()}
        else:
            for other in ("text", "digit", "audio"):
                agree = seen["picture"] == seen[other]
                out[f"{label}: picture = {other}"] = float(agree.float().mean())
        if "picture" in seen:
            real = judges["picture"].features(restored(pairs.values["picture"][:: max(1, len(pairs) // 5000)]))
            out[f"{label}: Frechet distance"] = frechet(judges["picture"].features(drawn["picture"]), real)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/learning_speed"))
    parser.add_argument("--minutes", default="4,8,12", help="core-minutes at which weights are kept")
    parser.add_argument("--plain", default="4,8,12,24,36", help="those of the recipe `plain`")
    parser.add_argument("--only", help="train one recipe alone, and judge nothing")
    parser.add_argument("--judge", action="store_true", help="train nothing, judge what has been trained")
    parser.add_argument("--num", type=int, default=400, help="conditions of every direction")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true", help="seconds of training, 4 conditions, small judges")
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps = 2 if args.quick else 18
    runs = {}
    folders = {name: args.workdir / name.replace(", ", "-").replace(" ", "_") for name in RECIPES}
    for name in RECIPES:
        if args.judge:
            if (folders[name] / "rows.json").is_file():
                runs[name] = json.loads((folders[name] / "rows.json").read_text())
        elif args.only in (None, name):
            listed = "0.02" if args.quick else args.plain if name == "plain" else args.minutes
            config = configured(RECIPES[name], args.seed, args.quick)
            minutes = [float(m) for m in listed.split(",")]
            runs[name] = for_minutes(config, minutes, folders[name], name)
    if args.only:
        return
    config = configured({}, args.seed, args.quick)
    modalities = build.modalities(config)
    judges, pairs = build_judges(config, modalities), build.data(config, modalities, "test")
    result = {
        "num": 4 if args.quick else args.num,
        "seed": args.seed,
        "steps": steps,
        **origin(),
        "ceilings": {n: ceiling(judges[n], config, n, m) for n, m in modalities.items()},
        "rows": [],
    }
    for name, rows in tqdm(runs.items(), desc="judging", unit="recipe", disable=None):
        for minutes, seen in sorted(rows.items(), key=lambda r: float(r[0])):
            path, kept = (
                folders[name] / f for f in (f"{float(minutes):g}.safetensors", f"{minutes}-{result['num']}.json")
            )
            if not kept.is_file():
                kept.write_text(json.dumps(judged(path, result["num"], steps, judges, pairs, args.seed)))
            figures = json.loads(kept.read_text())
            result["rows"].append({"recipe": name, "minutes": float(minutes), "rows": seen, "figures": figures})
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.outdir / "result.md").write_text(markdown(result))
    curves(result).savefig(args.outdir / "curves.png", dpi=110)
    print(markdown(result))


def markdown(result: dict) -> str:
    names = list(result["rows"][0]["figures"])
    lines = [["recipe", "core-minutes", "rows", *names], ["---"] * (len(names) + 3)]
    for row in result["rows"]:
        figures = [f"{row['figures'][n]:.1f}" if "distance" in n else f"{row['figures'][n]:.3f}" for n in names]
        lines.append([row["recipe"], f"{row['minutes']:g}", str(row["rows"]), *figures])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def curves(result: dict):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    wanted = ("picture -> text", "picture -> digit", "text -> picture", "text, guided -> picture")
    figure, axes = plt.subplots(1, len(wanted), figsize=(15, 4.4), layout="constrained", sharey=True)
    for axis, name in zip(axes, wanted):
        for recipe in dict.fromkeys(r["recipe"] for r in result["rows"]):
            rows = [r for r in result["rows"] if r["recipe"] == recipe]
            axis.plot([r["minutes"] for r in rows], [r["figures"][name] for r in rows], marker="o", label=recipe)
        axis.axhline(0.1, color="grey", linestyle=":")
        axis.set_title(name)
        axis.set_xlabel("core-minutes")
    axes[0].set_ylabel("coherence")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
