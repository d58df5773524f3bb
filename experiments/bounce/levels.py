"""How far a network's estimates are off, by the noise in what it sees: root mean square over the channels of each modality.

    python experiments/bounce/levels.py --model=bounce     # under a minute

Test scenes with the same noise at every ratio, all modalities equally noisy, nothing given. Writes levels.json and levels.md,
beside this file or to --outdir.
"""

import argparse
import pathlib

import torch

import jointdiff
from jointdiff import build
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
RATIOS = (0.05, 0.1, 0.2, 0.4, 1.0, 3.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bounce", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=64, help="test rows")
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = jointdiff.load(args.model)
    values = build.data(model.config, model.modalities, "test").rows(0, args.num).values
    result = Record(args.outdir / "levels.json", {"model": args.model, "num": args.num, "seed": 0}, rows=[])
    off = model.errors(values, RATIOS)
    result["rows"] = [{"ratio": r, **{n: float(v[i].sqrt()) for n, v in off.items()}} for i, r in enumerate(RATIOS)]
    result.save()
    names = model.layout.names
    lines = [f"| noise-to-signal ratio | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    lines += [f"| {r['ratio']:g} | {' | '.join(f'{r[n]:.3f}' for n in names)} |" for r in result["rows"]]
    (args.outdir / "levels.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
