"""A sensor failed: draw what it would have seen from the others, with the uncertainty.

    python experiments/missing_sensor/run.py           # about 8 minutes on one core, training included; goes on where it stopped
    python experiments/missing_sensor/run.py --quick   # under 2 minutes: the machinery

Four aligned sensors on patches of 16 x 16 of scikit-learn's two photographs: red, green, blue, and an edge detector (the
Sobel magnitude of the brightness at twice the resolution, so that it knows what the colours have lost). Squares of
24 pixels, a fifth of the photographs, are for tests alone. Any one sensor is then drawn from the other three, and two
from two. Writes result.json, result.md, sensors.png and intervals.png beside this file, or to --outdir.
"""

import argparse
import itertools
import json
import pathlib
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import sobel
from sklearn.datasets import load_sample_images

import jointdiff as jd
from jointdiff.evaluate.record import origin

HERE = pathlib.Path(__file__).parent
SENSORS = ("red", "green", "blue", "edge")
SIDE, SQUARE = 16, 24
SPREAD = (0.05, 0.95)


def sensors() -> list[np.ndarray]:
    """`(4, h, w)` of each photograph, at half its resolution."""
    out = []
    for photo in load_sample_images().images:
        photo = photo[: photo.shape[0] // 2 * 2, : photo.shape[1] // 2 * 2].astype(np.float64) / 255
        bright = photo.mean(2)
        edge = np.hypot(sobel(bright, 0), sobel(bright, 1))
        half = lambda x: (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
        out.append(np.stack([*(half(photo[:, :, c]) for c in range(3)), np.sqrt(half(edge))]))
    return out


def squares(scene: np.ndarray) -> np.ndarray:
    """True where a pixel is for tests alone: in every second square of every second row of squares."""
    row, column = np.indices(scene.shape[1:]) // SQUARE
    return (row % 2 == 1) & (column % 2 == 1)


def write_manifest(folder: pathlib.Path, train: int, test: int, seed: int = 0) -> pathlib.Path:
    """Patches as npy files and a table of them: what a scientist would have. Training patches are turned and mirrored."""
    rng, lines = np.random.default_rng(seed), [",".join((*SENSORS, "split"))]
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("test", test)):
        for i in range(count):
            scene = scenes[rng.integers(len(scenes))]
            kept = squares(scene)
            while True:
                top, left = (rng.integers(n - SIDE + 1) for n in kept.shape)
                place = slice(top, top + SIDE), slice(left, left + SIDE)
                if kept[place].all() if split == "test" else not kept[place].any():
                    break
            patch = scene[:, *place]
            if split == "train":
                patch = np.rot90(patch, rng.integers(4), (1, 2))[:, :, :: rng.choice([1, -1])]
            names = [f"{split}_{i:05d}_{n}.npy" for n in SENSORS]
            for name, channel in zip(names, patch):
                np.save(folder / name, channel)
            lines.append(",".join((*names, split)))
    (folder / "sensors.csv").write_text("\n".join(lines) + "\n")
    return folder / "sensors.csv"


def load_split(manifest: pathlib.Path, split: str) -> np.ndarray:
    rows = [line.split(",") for line in manifest.read_text().splitlines()[1:]]
    return np.stack([[np.load(manifest.parent / c) for c in r[:-1]] for r in rows if r[-1] == split])


def regression(train, test, known, wanted, reach: int = 1) -> np.ndarray:
    """Least squares from the 3 x 3 neighbourhoods of the known sensors to each pixel of the wanted ones."""

    def design(x):
        x = np.pad(x[:, known], ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
        views = [x[:, :, i : i + SIDE, j : j + SIDE] for i in range(2 * reach + 1) for j in range(2 * reach + 1)]
        flat = np.concatenate(views, 1).transpose(0, 2, 3, 1)
        return np.concatenate([flat, np.ones((*flat.shape[:3], 1))], 3)

    a, b = design(train), train[:, wanted].transpose(0, 2, 3, 1)
    fit = np.linalg.lstsq(a.reshape(-1, a.shape[3]), b.reshape(-1, len(wanted)), rcond=None)[0]
    return (design(test) @ fit).transpose(0, 3, 1, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/missing_sensor"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sampler", default="dpm_solver")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    patches, tested, repeats, steps = (200, 4, 6, 10) if args.quick else (8000, 64, 40, 3000)

    # 1. a table of files, one row a patch, one column a sensor
    manifest = args.workdir / "data" / "sensors.csv"
    if not manifest.exists():
        manifest = write_manifest(manifest.parent, patches, max(tested, 20), args.seed)
    train, test = load_split(manifest, "train"), load_split(manifest, "test")[:tested]

    # 2. one model of all four: kinds, ranges and the grid come from the files
    small = {"widths": (48, 96), "blocks": (2, 2), "attention": (False, True), "dropout": 0.15}
    ratios = dict.fromkeys(("joint", "conditional", "independent", "absent"), (-0.5, 1.4))
    fields = {"train": {"steps": steps, "ema": 0.998}, "backbone": {"unet": small}, "loss": {"log_ratio": ratios}}
    began = time.perf_counter()
    model = jd.train(fields, args.workdir / "model", data=manifest)
    minutes = (time.perf_counter() - began) / 60

    # 3. drop sensors, draw them, look at the spread
    rows, kept = [], {}
    for count in (1, 2):
        for wanted in itertools.combinations(range(4), count):
            known = [i for i in range(4) if i not in wanted]
            given = {SENSORS[i]: list(test[:, i].repeat(repeats, 0)) for i in known}
            drawn = model.sample(given, seed=args.seed, sampler=args.sampler, steps=args.steps, batch=256)
            straight = regression(train, test, known, list(wanted))
            for place, i in enumerate(wanted):
                truth = test[:, i]
                values = drawn.raw(SENSORS[i]).reshape(tested, repeats, SIDE, SIDE)
                low, high = np.quantile(values, SPREAD, axis=1)
                rms = lambda guess, truth=truth: float(np.sqrt(((guess - truth) ** 2).mean()))
                spread = float(np.sqrt(values.var(1, ddof=1).mean()))
                rows.append(
                    {
                        "drawn": SENSORS[i],
                        "given": [SENSORS[k] for k in known],
                        "error": rms(values.mean(1)),
                        "regression error": rms(straight[:, place]),
                        "mean error": rms(np.full_like(truth, train[:, i].mean())),
                        "coverage": float(((truth >= low) & (truth <= high)).mean()),
                        "spread": spread,
                    }
                )
                if count == 1:
                    kept[SENSORS[i]] = (truth, values, straight[:, place], low, high)
    result = {"rows": rows, "patches": len(train), "tested": tested, "samples of each": repeats, "sampler": args.sampler,
              "steps": args.steps, "seed": args.seed, "training minutes": round(minutes, 1), "device": str(model.device),
              "commit": origin()["commit"], "quick": args.quick}  # fmt: skip
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.outdir / "result.md").write_text(table(rows))
    faces(kept).savefig(args.outdir / "sensors.png", dpi=110)
    intervals(kept).savefig(args.outdir / "intervals.png", dpi=110)
    print(table(rows))


def table(rows) -> str:
    """Markdown: root mean square errors, in units of the sensors (0 to 1)."""
    out = [
        "| drawn | from | error | linear regression | mean | 90 % interval holds | spread |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = (f"{r[k]:.4f}" for k in ("error", "regression error", "mean error"))
        line = f"| {r['drawn']} | {', '.join(r['given'])} | {' | '.join(cells)} | {r['coverage']:.3f} | {r['spread']:.4f} |"
        out.append(line)
    return "\n".join(out) + "\n"


def faces(kept):
    """A test patch a row: the truth, three draws, their mean and spread, and linear regression."""
    titles = ("truth", "draw", "draw", "draw", "mean of draws", "spread", "linear regression")
    figure, axes = plt.subplots(len(kept), len(titles), figsize=(11.5, 6.8), layout="constrained")
    for line, (name, (truth, values, straight, _, _)) in zip(axes, kept.items()):
        row = int(truth.std((1, 2)).argsort()[-len(truth) // 8])  # a patch with something on it
        mean, spread = values[row].mean(0), values[row].std(0)
        shown = (truth[row], *values[row, :3], mean, spread, straight[row])
        for axis, title, picture in zip(line, titles, shown):
            is_spread = title == "spread"
            low, high = (0, 0.15) if is_spread else (truth[row].min(), truth[row].max())
            axis.imshow(picture, cmap="magma" if is_spread else "gray", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[], title=title if name == SENSORS[0] else "")
        line[0].set_ylabel(f"{name} missing")
    return figure


def intervals(kept):
    """Truth against the 90 % interval along the middle row of a patch."""
    figure, axes = plt.subplots(1, len(kept), figsize=(12.5, 3.2), layout="constrained")
    for axis, (name, (truth, values, straight, low, high)) in zip(axes, kept.items()):
        row, line = int(truth.std((1, 2)).argsort()[-len(truth) // 8]), SIDE // 2
        place = np.arange(SIDE)
        axis.fill_between(place, low[row, line], high[row, line], alpha=0.3, label="90 % interval")
        axis.plot(place, values[row].mean(0)[line], label="mean of draws")
        axis.plot(place, straight[row, line], "--", color="gray", label="linear regression")
        axis.plot(place, truth[row, line], "k.", label="truth")
        axis.set(title=f"{name} missing", xlabel="pixel")
    axes[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    scenes = sensors()
    main()
