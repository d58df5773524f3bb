"""Coherence of every direction, the pictures of all directions, and the sampler's overhead, for one model.

    python experiments/any_direction/run.py --model=digits
    python experiments/any_direction/run.py --model=runs/keypad --name=keypad
    python experiments/any_direction/run.py --model=digits --overhead    # on an idle machine

Writes NAME.json, NAME.md, NAME_coherence.png and NAME_directions.png beside this file, or to --outdir.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import time

import torch

import jointdiff
from jointdiff.evaluate.gallery import gallery
from jointdiff.evaluate.table import evaluate, markdown, picture

HERE = pathlib.Path(__file__).parent


def overhead(model, batch=16, steps=18, repeats=5):
    """Seconds of `steps` Heun steps over (evaluations x one bare forward of the network), the best of `repeats` each."""
    x, levels = torch.randn(batch, *model.layout.shape), torch.zeros(batch, len(model.layout.names))

    def forward():
        with torch.no_grad(), model.denoiser.precision():
            for _ in range(10):
                model.denoiser.network(x, levels)

    def best(run):
        run()
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        return min(times)

    bare = best(forward) / 10
    given = {"text": model.modalities["text"].encode(["seven"])}
    sampling = {
        name: best(lambda g=g: model.sample(g, num=batch, steps=steps, sampler="heun", guidance=0.0))
        for name, g in (("joint", {}), ("text given", given))
    }
    evaluations = model.cost("heun", steps, guidance=0.0)
    return {
        "batch": batch,
        "evaluations": evaluations,
        "bare_forward_seconds": bare,
        **{f"{k}: seconds": v for k, v in sampling.items()},
        **{f"{k}: ratio": v / (evaluations * bare) for k, v in sampling.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--name", help="name of the results; the model's when not given")
    parser.add_argument("--num", type=int, default=256, help="test rows a direction and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--overhead", action="store_true", help="measure only that, and put it into NAME.json")
    parser.add_argument("--quick", action="store_true", help="8 rows, 2 seeds, 4 steps: a look at the machinery")
    args = parser.parse_args()
    name = args.name or pathlib.Path(args.model).stem
    num, seeds, steps = (8, 2, 4) if args.quick else (args.num, args.seeds, None)
    model = jointdiff.load(args.model)
    if args.overhead:
        path = args.outdir / f"{name}.json"
        result = {
            **json.loads(path.read_text()),
            "overhead": overhead(model),
            "overhead threads": torch.get_num_threads(),
        }
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result["overhead"], indent=1))
        return
    result = evaluate(model, num, tuple(range(seeds)), steps=steps)
    result["overhead"] = overhead(model, repeats=1 if args.quick else 5)
    result["torch"], result["threads"], result["machine"] = (
        torch.__version__,
        torch.get_num_threads(),
        platform.machine(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    result["commit"] = commit.stdout.strip()
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.outdir / f"{name}.md").write_text(markdown(result))
    picture(result).save(args.outdir / f"{name}_coherence.png")
    gallery(model, steps=steps).save(args.outdir / f"{name}_directions.png")
    print(markdown(result))
    print(json.dumps(result["overhead"], indent=1))


if __name__ == "__main__":
    main()
