"""The judges that come with the package: trained on training items, their accuracy on all test items.

    python experiments/judges/run.py                  # all, about an hour on one core, nearly all of it CIFAR-10's
    python experiments/judges/run.py --only=mnist

Writes the weights to jointdiff/evaluate/judges/ and result.json beside this file, or both to --outdir.
"""

import argparse
import json
import pathlib
import subprocess
import time

import torch

from jointdiff import build
from jointdiff.config import from_file
from jointdiff.evaluate.judge import SHIPPED, ceiling, judge_id, load_judge, recipe, save_judge, train_judge

HERE = pathlib.Path(__file__).parent
CONFIGS = ("keypad", "digits", "joint")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outdir", type=pathlib.Path)
    parser.add_argument(
        "--passes",
        type=float,
        help="over the training items, of the recipe that counts them (airbench), if not its own",
    )
    parser.add_argument("--quick", action="store_true", help="the keypad's alone, with few updates")
    args = parser.parse_args()
    if args.passes and args.only != "cifar10":
        parser.error("--passes is for --only=cifar10")
    results, weights = args.outdir or HERE, args.outdir or SHIPPED
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    file = results / "result.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    done = set()
    for name in CONFIGS[:1] if args.quick else CONFIGS:
        config = from_file(HERE.parents[1] / "configs" / f"{name}.py")
        for modality, codec in build.modalities(config).items():
            source, judge = config.modality[modality].source, judge_id(config, modality)
            if config.modality[modality].kind == "text" or judge in done or args.only not in (None, source):
                continue
            done.add(judge)
            began = time.monotonic()
            options = {"updates": 100} if args.quick else {"passes": args.passes} if args.passes else {}
            trained = train_judge(config, modality, codec, args.seed, **options)
            save_judge(trained, weights / f"{judge}.safetensors", recipe(config, modality))
            accuracy = ceiling(load_judge(weights / f"{judge}.safetensors"), config, modality, codec)
            result[judge] = {
                "source": source,
                "recipe": recipe(config, modality),
                "parameters": sum(p.numel() for p in trained.parameters()),
                "accuracy": accuracy,
                "seed": args.seed,
                "minutes": (time.monotonic() - began) / 60,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "commit": commit.stdout.strip(),
            }
            print(f"{judge}: {accuracy:.4f} on real test items, {result[judge]['minutes']:.1f} minutes")
            results.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
