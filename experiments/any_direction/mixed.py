"""Weights between those of a run and those that it started from: what the run has learned, and what it has not forgotten.

    python experiments/any_direction/mixed.py --first=A.safetensors --second=runs/seeing --share=0.35 --out=C.safetensors

Both are shipped weights, a workdir or a safetensors file of the same network; the config is the second one's. Wortsman et al. 2022,
arXiv:2109.01903.
"""

import argparse
import pathlib

import torch

import jointdiff
from jointdiff import state


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", required=True)
    parser.add_argument("--second", required=True)
    parser.add_argument("--share", type=float, required=True, help="of the second one")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    first, second = (jointdiff.load(path, precision="fp32") for path in (args.first, args.second))
    if repr(first.layout) != repr(second.layout):
        parser.error(f"{args.first} has {first.layout!r}, and {args.second} {second.layout!r}")
    old, new = (m.denoiser.network.state_dict() for m in (first, second))
    second.denoiser.network.load_state_dict({n: torch.lerp(old[n], new[n], args.share) for n in new})
    state.export(second, args.out)


if __name__ == "__main__":
    main()
