"""Every condition with every sampler, where the true conditional is known: how wrong, at what cost.

    python experiments/exactness/run.py            # about 25 minutes on one core; goes on where it was stopped
    python experiments/exactness/run.py --quick    # under 2 minutes: few samples, few methods

Writes result.json after every row, then result.md, error_by_cost.png and what_samples_look_like.png, beside this file or
to --outdir.
"""

import argparse
import json
import math
import pathlib
import time

import torch
from figures import Noise, error_by_cost, looks, table
from problems import PAIRS, SDE, exact_rows, joint_part, measure, observations, train
from tqdm import tqdm

from jointdiff.condition import CONDITIONS
from jointdiff.evaluate.record import Record
from jointdiff.samplers import SAMPLERS, Counted, sample

HERE = pathlib.Path(__file__).parent
STEPS = {
    "ddim": 200,
    "dpm_solver": 50,
    "heun": 25,
    "stochastic_heun": 50,
    "euler_maruyama": 500,
    "predictor_corrector": 500,
    "adaptive": 2,
}
FEW = ("dpm_solver", "ddim", "euler_maruyama")  # for networks and the process, which cost more
OPTIONS = {"ddim": {"eta": 1.0}}
PROBLEMS = (*PAIRS, "mixture", "process")
NETWORKS = ("exact", "network", "joint-only network")


def draw(name, denoise, condition, sampler, count, seed, dtype, options):
    joint, observed, x = observations(name, count, seed)
    mask, y = observed.view(1, -1, 1, 1), x[:, :, None, None].to(dtype)
    method = SAMPLERS[sampler](SDE, **OPTIONS.get(sampler, {}))
    how = CONDITIONS[condition](SDE, y, mask, **options)
    counted = Counted(denoise)
    steps = STEPS[sampler] if condition in ("clean", "guide", "pigdm", "tweedie") else max(STEPS[sampler], 50)
    began = time.perf_counter()
    out = sample(counted, method, method.grid(SDE, steps), Noise(y.shape, seed, dtype), how)
    return out.flatten(1).double(), counted.rows / count, time.perf_counter() - began, how


def work(quick: bool):
    """Rows to do: (problem, network, condition, sampler, options)."""
    problems = ("gaussian .9", "mixture") if quick else PROBLEMS
    samplers = ("dpm_solver", "ddim") if quick else tuple(STEPS)
    for name in problems:
        yield name, "exact", "exact draws", "", {}
        for network in NETWORKS if name in ("gaussian .9", "mixture") else NETWORKS[:1]:
            if quick and network == "joint-only network":
                continue
            for condition in CONDITIONS:
                for sampler in samplers if network == "exact" and name != "process" else FEW:
                    if condition == "twisted" and sampler not in ("ddim", "euler_maruyama"):
                        continue
                    if sampler == "adaptive" and condition in ("replace", "langevin", "repaint") and name not in PAIRS:
                        continue  # it starts anew after every step, thousands of evaluations
                    if quick and (condition, sampler) not in {(c, "ddim") for c in ("clean", "replace", "pigdm")} | {
                        ("clean", "dpm_solver"),
                        ("tweedie", "dpm_solver"),
                    }:
                        continue
                    yield name, network, condition, sampler, {}
            if not quick:
                yield name, network, "guide", "ddim", {"weight": 1.0}
                yield name, network, "langevin", "ddim", {"corrections": 3}


def budget(name, network, condition, sampler, quick):
    """Number of samples: fewer where a sample costs much."""
    count = 20000 if name in PAIRS else 5000
    if condition in ("repaint", "twisted") or sampler in ("euler_maruyama", "predictor_corrector"):
        count = 4000 if name in PAIRS else 1000
    if name == "process":
        count = 4000  # 66 dimensions want many samples
    if sampler == "adaptive" and name not in PAIRS:
        count = 500  # times of its own for every sample are slow in the exact score of a mixture
    if network != "exact":
        count = max(count // 5, 1000)
    return 1000 if quick else count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after them; the same command goes on")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = Record(args.outdir / "result.json", {"seed": args.seed, "quick": args.quick}, rows=[])
    key = lambda r: (r["problem"], r["network"], r["condition"], r["sampler"], json.dumps(r["options"]))
    done = {key(r) for r in result["rows"]}
    networks, began = {}, time.monotonic()
    for name, network, condition, sampler, options in tqdm(list(work(args.quick)), disable=None, unit="row"):
        row = {"problem": name, "network": network, "condition": condition, "sampler": sampler, "options": options}
        if key(row) in done or time.monotonic() - began > 60 * args.minutes:
            continue
        count, seed = budget(name, network, condition, sampler, args.quick), args.seed
        if condition == "exact draws":
            x, true = exact_rows(name, count, seed)
            row.update(evaluations=0, seconds=0.0, samples=len(x), **measure(name, x, true))
        else:
            joint, observed, true = observations(name, count, seed)
            if network == "exact":
                denoise, dtype = joint.denoiser(SDE), torch.float64
            else:
                if (name, network) not in networks:
                    steps = 300 if args.quick else 6000
                    networks[name, network] = train(joint, observed, network != "network", steps)
                denoise, dtype = networks[name, network], torch.float32
            std = (
                {"data_std": float(joint.moments()[1].diagonal().mean().sqrt())}
                if condition in ("pigdm", "twisted")
                else {}
            )
            try:
                x, evaluations, seconds, how = draw(
                    name, denoise, condition, sampler, count, seed, dtype, {**options, **std}
                )
            except RuntimeError as error:  # a solver that gives up is a result too
                row.update(failed=str(error))
            else:
                row.update(evaluations=round(evaluations), seconds=round(seconds, 2), samples=count)
                bad = ~x.isfinite().all(1)
                row["failed"] = f"{float(bad.double().mean()):.0%} of the samples are not finite" if bad.any() else ""
                if not bad.any():
                    row.update(measure(name, x, true))
                if condition == "twisted" and network == "exact":
                    exact = joint_part(joint, observed).log_prob(true[:, observed][:, :, None, None])
                    ratio = (how.log_evidence - exact).exp()
                    row["evidence"] = float(ratio.mean().log())  # 0: the mean of the estimates is right
                    row["evidence error"] = float(ratio.std() / ratio.mean() / math.sqrt(len(ratio)))
                    row["ess"] = float(how.ess.mean())
        result["rows"].append(row)
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    error_by_cost(result).savefig(args.outdir / "error_by_cost.png", dpi=110)
    looks(args.seed, 2000 if args.quick else 40000).savefig(args.outdir / "what_samples_look_like.png", dpi=110)
    print(table(result))


if __name__ == "__main__":
    main()
