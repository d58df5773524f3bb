"""The first picture of the README: a photograph, a digit, a word and a voice that belong together, whichever of them was given.

    python experiments/any_direction/first.py --model=joint

Ten rows a panel: noise of seeds 0 to 9, or of each class the first test item, framed. Not one was chosen. Writes first.png beside
this file, or to --outdir.
"""

import argparse
import pathlib

import PIL.Image
import torch

import jointdiff
from jointdiff import build
from jointdiff.best import best
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
PANELS = {  # title: what is given, the order of what is drawn, and of how many draws the word that most agree on is taken
    "from nothing: word, photograph, the rest": ((), ("text", "picture", ("digit", "audio")), 1),
    "from a word": (("text",), None, 1),
    "from a photograph, most of 8 draws": (("picture",), None, 8),
    "from a voice: word, photograph, digit": (("audio",), ("text", "picture", "digit"), 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="joint", help="shipped weights, a workdir, or a safetensors file, of configs/joint.py"
    )
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true", help="two rows, two steps")
    args = parser.parse_args()
    num, how = (2, {"steps": 2}) if args.quick else (10, {})
    model, panels = jointdiff.load(args.model), []
    data = build.data(model.config, model.modalities, "test")
    _, _, labels, _ = data.rows(0, 200)
    rows = [int((labels == k).nonzero()[0]) for k in labels.unique()[:num]]
    for title, (given, order, of) in PANELS.items():
        y = {n: torch.cat([data.rows(i, 1).values[n] for i in rows]) for n in given}
        drawn = (
            best(model, y, num, of, target="text", order=order, **how)
            if of > 1
            else model.sample(y, num, order=order, **how)
        )
        panels.append(titled(grid_picture(model.modalities, {**y, **drawn}, given), title))
    args.outdir.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(beside(panels)).save(args.outdir / "first.png")


if __name__ == "__main__":
    main()
