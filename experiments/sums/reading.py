"""How a network reads, and how it draws: what the later runs of configs/sums.py change.

    python experiments/sums/reading.py --models runs/sums runs/reading   # a minute each

It reads two digits right where its first estimate of the rationale, from noise alone beside both clean pictures, is nearest to
the right one of the hundred: test rows. It draws right where two digits that it draws from their sum add up: training rows, as
choices are made by it. Writes reading.json after every network, then reading.md, beside this file or to --outdir.
"""

import argparse
import pathlib

import torch
from run import right
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import shown
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
DRAWN = "sum → both digits"


@torch.no_grad()
def read(model, data, num: int, seed: int = 0) -> float:
    """The share of `num` rows whose rationale is right in E[rationale | both digits], with the sum absent."""
    layout, known, absent = model.layout, model.layout.mask(("first", "second")), model.layout.mask(("answer",))
    words = model.modalities["rationale"].encode([f"{a}\nand\n{b}" for a in range(10) for b in range(10)]).flatten(1)
    generator, found = torch.Generator().manual_seed(seed), []
    for first in tqdm(range(0, num, 100), unit="part", leave=False, disable=None):
        values, _, labels, _ = data.rows(first, min(100, num - first))
        x = layout.pack(values)
        x = torch.where(known, x, torch.randn(x.shape, generator=generator))
        t = torch.where(known & ~absent, 0.0, torch.ones(1, dtype=torch.float64))
        seen = torch.cdist(layout.unpack(model.denoiser(x, t))["rationale"].flatten(1), words).argmin(1)
        found.append(seen == 10 * shown(data, "first", labels) + shown(data, "second", labels))
    return float(torch.cat(found).double().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["sums"], help="shipped weights, workdirs, or safetensors files")
    parser.add_argument("--num", type=int, default=4000, help="test rows that are read")
    parser.add_argument("--drawn", type=int, default=100, help="training rows whose sum two digits are drawn from")
    parser.add_argument("--guidance", type=float, default=1.25, help="of these draws, for all networks")
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, drawn = (20, 4) if args.quick else (args.num, args.drawn)
    setting = {"num": num, "drawn": drawn, "guidance": args.guidance, "quick": args.quick}
    result = Record(args.outdir / "reading.json", setting, models={})
    for path in args.models:
        name = pathlib.Path(path).stem
        if name in result["models"]:
            continue
        model = jointdiff.load(path)
        model.config.sample.guidance = args.guidance
        judges = build_judges(model.config, model.modalities)
        test, train = (build.data(model.config, model.modalities, split) for split in ("test", "train"))
        result["models"][name] = {"read": read(model, test, num), "drawn": right(model, judges, train, DRAWN, drawn, 0)}
        result.save()
    lines = ["| network | reads both digits | draws two that add up |", "| --- | --- | --- |"]
    lines += [f"| {n} | {f['read']:.4f} | {f['drawn']:.2f} |" for n, f in result["models"].items()]
    (args.outdir / "reading.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
