"""What people would have typed instead: coherence on the data of `digits` against core-minutes of training, side by side.

    python experiments/baselines/run.py --workdir=runs/baselines           # two to three hours on one core
    python experiments/baselines/run.py --workdir=runs/baselines --quick   # seconds

Contenders, at batches of 64 rows, one thread, all with a rate that stays:

* jointdiff: configs/digits.py, its first stage; clean conditions, 18 ancestral steps.
* one time: the same network and optimizer with one time for all modalities, the joint-diffusion paper's way, drawn by
  replacement.
* score_sde: in the style of Song et al. 2021, arXiv:2011.13456, and its code: a U-Net at full resolution with four levels of two
  blocks and attention at 16 x 16, fp32, AdamW at 2e-4, one time; predictor and corrector with replacement.
* diffusers: its UNet2DModel of the same widths, its DDPMScheduler, noise as the target, and replacement written on top. Needs
  `pip install diffusers`, and is left out without.

What is kept in --workdir is not trained again. Writes result.json after every figure, result.md and curves.png beside this
file, or to --outdir.
"""

import argparse
import copy
import importlib.util
import json
import pathlib
import statistics
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import shown
from jointdiff.evaluate.coherence import directions, fitting
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record
from jointdiff.files import write_atomically
from jointdiff.state import load_weights
from jointdiff.training import for_minutes

HERE = pathlib.Path(__file__).parent
WIDTHS = (64, 128, 128, 128)
ONE_TIME = {"loss.pattern": {"joint": 1.0, "conditional": 0.0, "independent": 0.0, "absent": 0.0}}
SETTINGS = {  # what differs from configs/digits.py
    "jointdiff": {},
    "one time": ONE_TIME,
    "score_sde": {
        **ONE_TIME,
        "backbone.unet.patch": 1,
        "backbone.unet.widths": WIDTHS,
        "backbone.unet.blocks": (2, 2, 2, 2),
        "backbone.unet.attention": (False, True, False, False),
        "optim.name": "adamw",
        "optim.lr": 2e-4,
        "train.precision": "fp32",
    },
}
SAMPLING = {
    "jointdiff": {"steps": 18},
    "one time": {"condition": "replace", "steps": 18, "guidance": 0.0},
    "score_sde": {"condition": "replace", "sampler": "predictor_corrector", "steps": 50, "guidance": 0.0},
    "diffusers": {"steps": 50},
}
MINUTES = {
    "jointdiff": (4, 8, 12, 16, 24),
    "one time": (8, 16, 24),
    "score_sde": (24, 72),
    "diffusers": (24, 72),
}


def configured(name: str, quick: bool):
    """The config of a contender; when quick, of a small network on the digits that ship with scikit-learn."""
    config = cfg.from_file(HERE.parents[1] / "configs" / "digits.py")
    config.train.stages, config.optim.decay = (), 0.0
    if quick:
        keypad = cfg.from_file(HERE.parents[1] / "configs" / "keypad.py")
        config.data.grid, config.modality = keypad.data.grid, keypad.modality
        config.backbone.unet.widths, config.train.batch = (16, 32, 32), 8
    changes = dict(SETTINGS.get(name, {}))
    if quick and "backbone.unet.widths" in changes:
        changes["backbone.unet.widths"] = (16, 16, 16, 16)
    return cfg.changed(config, changes)


class Diffusers:
    """A library's U-Net and scheduler on the joint tensor, trained to tell the noise, sampled by replacement."""

    def __init__(self, config, quick: bool):
        from diffusers import DDPMScheduler, UNet2DModel

        self.config, self.modalities = config, build.modalities(config)
        self.layout = build.layout(config, self.modalities)
        widths = (16, 16, 16, 16) if quick else WIDTHS
        torch.manual_seed(config.seed)
        self.network = UNet2DModel(
            sample_size=self.layout.grid,
            in_channels=self.layout.shape[0],
            out_channels=self.layout.shape[0],
            block_out_channels=widths,
            layers_per_block=2,
            norm_num_groups=8 if quick else 32,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.scheduler = DDPMScheduler(1000)

    def train(self, minutes, folder: pathlib.Path) -> dict[str, int]:
        """Averaged weights after some core-minutes, as `training.for_minutes` keeps them; it starts again when stopped."""
        record = folder / "rows.json"
        rows = json.loads(record.read_text()) if record.is_file() else {}
        if all(str(m) in rows for m in minutes):
            return rows
        folder.mkdir(parents=True, exist_ok=True)
        pairs, batch = build.data(self.config, self.modalities, "train"), self.config.train.batch
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-4)
        average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
        )
        g, step, spent = torch.Generator().manual_seed(self.config.seed), 0, 0.0
        with tqdm(total=max(minutes), unit="min", desc="diffusers", disable=None) as bar:
            for until in sorted(minutes):
                while spent < until:
                    began = time.process_time()
                    x, _ = self.layout.observe(pairs.rows(step * batch, batch).values, batch)
                    noise = torch.randn(x.shape, generator=g)
                    t = torch.randint(1000, (batch,), generator=g)
                    loss = (self.network(self.scheduler.add_noise(x, noise, t), t).sample - noise).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                    optimizer.step()
                    average.update_parameters(self.network)
                    step += 1
                    took = (time.process_time() - began) / 60
                    spent += took
                    bar.update(took)
                save_file(average.module.state_dict(), folder / f"{until:g}.safetensors")
                rows[str(until)] = step * batch
        write_atomically(record, lambda p: p.write_text(json.dumps(rows)))
        return rows

    def load(self, path) -> "Diffusers":
        self.network.load_state_dict(load_file(path))
        return self

    @torch.no_grad()
    def sample(self, given, num, seed, steps) -> dict[str, torch.Tensor]:
        y, mask = self.layout.observe(given, num)
        g = torch.Generator().manual_seed(seed)
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(steps)
        x = torch.randn((num, *self.layout.shape), generator=g)
        for t in scheduler.timesteps:
            known = scheduler.add_noise(y, torch.randn(y.shape, generator=g), t.expand(num))
            x = torch.where(mask, known, x)
            x = scheduler.step(self.network(x, t).sample, t, x, generator=g).prev_sample
        return self.layout.unpack(torch.where(mask, y, x))


def judged(model, judges, pairs, num: int, seed: int, how: dict) -> dict[str, float]:
    """Coherence of every direction in which nothing is left out, over `num` test rows of this seed's own."""
    values, _, labels, _ = pairs.rows(seed * num, num)
    out = {}
    for d in directions(tuple(model.modalities), leave_out=False):
        drawn = model.sample({n: values[n] for n in d.given}, num=num, seed=seed, **how)
        seen = {n: judges[n].judge(drawn[n]) for n in d.generated}
        known = {n: shown(pairs, n, labels) for n in d.given}
        if known:
            read = {f"{d} ({n})": fitting({**known, n: s}, pairs.shows) for n, s in seen.items()}
        else:
            read = {"nothing": fitting(seen, pairs.shows)}
        out |= {k: float(v.float().mean()) for k, v in read.items()}
    return out


def reached(rows: list[dict], target: float) -> str:
    """Core-minutes at which the mean conditional coherence passes the target, on a line between what was measured."""
    before = (0.0, 0.1)
    for row in rows:
        now = (row["minutes"], row["conditional"]["mean"])
        if now[1] >= target:
            return f"{before[0] + (now[0] - before[0]) * (target - before[1]) / (now[1] - before[1]):.1f}"
        before = now
    return f"not in {before[0]:g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/baselines"))
    parser.add_argument("--only", choices=sorted(MINUTES), help="train one contender alone, and judge nothing")
    parser.add_argument("--num", type=int, default=64, help="test rows a direction and seed")
    parser.add_argument("--seeds", type=int, default=2, help="of sampling, each with rows of its own")
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds = (4, 2) if args.quick else (args.num, args.seeds)
    names = [args.only] if args.only else list(MINUTES)
    if importlib.util.find_spec("diffusers") is None and "diffusers" in names:
        print("diffusers is not installed, and is left out: pip install diffusers")
        names.remove("diffusers")
    rows, peers = {}, {}
    for name in names:
        minutes, folder = (0.02,) if args.quick else MINUTES[name], args.workdir / name.replace(" ", "_")
        config = configured(name, args.quick)
        if name == "diffusers":
            peers[name] = Diffusers(config, args.quick)
            rows[name] = peers[name].train(minutes, folder)
        else:
            rows[name] = for_minutes(config, list(minutes), folder, name)
    if args.only:
        return
    config = configured("jointdiff", args.quick)
    modalities = build.modalities(config)
    judges, pairs = build_judges(config, modalities), build.data(config, modalities, "test")
    setting = {"num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, rows=[])
    result.setdefault("ceilings", {n: ceiling(judges[n], config, n, m) for n, m in modalities.items()})
    done = {(r["contender"], r["minutes"]) for r in result["rows"]}
    work = [(n, float(m)) for n in names for m in rows[n] if (n, float(m)) not in done]
    for name, minutes in tqdm(work, desc="judging", unit="weights", disable=None):
        path = args.workdir / name.replace(" ", "_") / f"{minutes:g}.safetensors"
        model = peers[name].load(path) if name in peers else load_weights(path)
        how = {**SAMPLING[name], "steps": 2} if args.quick else SAMPLING[name]
        figures = [judged(model, judges, pairs, num, seed, how) for seed in range(seeds)]
        means = [statistics.fmean(v for k, v in f.items() if k != "nothing") for f in figures]
        nothing = [f["nothing"] for f in figures]
        spread = lambda v: {"mean": statistics.fmean(v), "std": statistics.stdev(v)}
        network = model.network if name in peers else model.denoiser.network
        row = {"contender": name, "minutes": minutes, "rows": rows[name][f"{minutes:g}"]}
        row["evaluations"] = how["steps"] if name in peers else model.cost(**how)
        row["parameters"] = sum(p.numel() for p in network.parameters())
        result["rows"].append(row | {"conditional": spread(means), "nothing": spread(nothing), "figures": figures})
        result.save()
    result.save()
    (args.outdir / "result.md").write_text(table(result))
    curves(result).savefig(args.outdir / "curves.png", dpi=110)
    print(table(result))


def table(result) -> str:
    heads = ("contender", "parameters", "core-minutes", "rows seen", "evaluations given some", "conditional", "nothing", "to .90")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in dict.fromkeys(r["contender"] for r in result["rows"]):
        rows = sorted((r for r in result["rows"] if r["contender"] == name), key=lambda r: r["minutes"])
        for r in rows:
            figures = [f"{r[k]['mean']:.3f} ± {r[k]['std']:.3f}" for k in ("conditional", "nothing")]
            cells = [name, f"{r['parameters'] / 1e6:.1f} M", f"{r['minutes']:g}", r["rows"], r["evaluations"], *figures]
            lines.append(f"| {' | '.join(map(str, cells))} | {reached(rows, 0.9) if r is rows[-1] else ''} |")
    return "\n".join(lines) + "\n"


def curves(result):
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axis, key, title in zip(axes, ("conditional", "nothing"), ("given some, mean over directions", "from nothing")):
        for name in dict.fromkeys(r["contender"] for r in result["rows"]):
            rows = sorted((r for r in result["rows"] if r["contender"] == name), key=lambda r: r["minutes"])
            means, stds = ([r[key][s] for r in rows] for s in ("mean", "std"))
            axis.errorbar([r["minutes"] for r in rows], means, stds, marker="o", capsize=3, label=name)
        axis.axhline(0.9, color="grey", linestyle=":")
        axis.set(title=f"coherence, {title}", xlabel="core-minutes of training", ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[1].legend()
    return figure


if __name__ == "__main__":
    main()
