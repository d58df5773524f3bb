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
import random
import statistics
import time

import torch

import jointdiff
from jointdiff.evaluate.gallery import gallery
from jointdiff.evaluate.record import origin
from jointdiff.evaluate.table import evaluate, markdown, picture

HERE = pathlib.Path(__file__).parent


def overhead(model, batch=16, steps=18, rounds=41):
    """Seconds of `steps` Heun steps over those of as many bare forwards of the network: medians of rounds in any order."""
    x, levels = torch.randn(batch, *model.layout.shape), torch.zeros(batch, len(model.layout.names))
    evaluations = model.cost(sampler="heun", steps=steps, guidance=0.0)

    def forward():
        with torch.no_grad(), model.denoiser.precision():
            for _ in range(evaluations):
                model.denoiser.network(x, levels)

    given = {"text": model.modalities["text"].encode(["seven"])}
    draw = lambda given: model.sample(given, num=batch, steps=steps, sampler="heun", guidance=0.0)
    runs = {"bare": forward, "joint": lambda: draw({}), "text given": lambda: draw(given)}
    seconds = {name: [] for name in runs}
    shuffle = random.Random(0)
    for name in (n for _ in range(rounds + 1) for n in shuffle.sample(list(runs), len(runs))):
        began = time.perf_counter()
        runs[name]()
        seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return {
        "batch": batch,
        "evaluations": evaluations,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "median seconds": median,
        "joint: ratio": median["joint"] / median["bare"],
        "text given: ratio": median["text given"] / median["bare"],
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
        result = json.loads(path.read_text())
        # of one and of two threads, whichever this run has
        measured = overhead(model, rounds=1 if args.quick else 41)
        before = [o for o in result.get("overhead", []) if o["threads"] != measured["threads"]]
        result["overhead"] = [*before, measured]
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(measured, indent=1))
        return
    led = model.config.sample.reading  # which takes a clean condition
    conditions = ("clean",) if led else ("clean", "replace")
    result = evaluate(model, num, tuple(range(seeds)), conditions, steps=steps)
    result["torch"], result["threads"], result["machine"] = (
        torch.__version__,
        torch.get_num_threads(),
        platform.machine(),
    )
    result["commit"] = origin()["commit"]
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.outdir / f"{name}.md").write_text(markdown(result))
    picture(result).save(args.outdir / f"{name}_coherence.png")
    gallery(model, steps=steps).save(args.outdir / f"{name}_directions.png")
    print(markdown(result))


if __name__ == "__main__":
    main()
