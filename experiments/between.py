"""Weights between those of two networks, the second of which was trained on from the first: it keeps what that one knew, and most
of what the second learned (Wortsman et al. 2022, arXiv:2109.01903, equation 1).

    python experiments/between.py --models runs/all runs/reading --share=0.5 --out=runs/between.safetensors
"""

import argparse
import pathlib

import jointdiff
from jointdiff.state import export


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs=2, required=True, help="shipped weights, workdirs, or safetensors files")
    parser.add_argument("--share", type=float, default=0.6, help="of the second, 0 to 1")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    if args.out.exists():
        raise SystemExit(f"{args.out} exists; name another --out")
    model, other = (jointdiff.load(name) for name in args.models)
    weights, more = (m.denoiser.network.state_dict() for m in (model, other))
    if {n: v.shape for n, v in weights.items()} != {n: v.shape for n, v in more.items()}:
        raise SystemExit(f"{args.models[0]} and {args.models[1]} are networks of different shapes")
    mean = {n: v.float().lerp(more[n].float(), args.share) for n, v in weights.items()}
    model.denoiser.network.load_state_dict(mean)
    export(model, args.out)


if __name__ == "__main__":
    main()
