"""Does a network share features because its pairs share a class? The same network trained on pairs, and on shuffled pairs.

    python experiments/shared_features/shuffled.py --workdir=runs/shuffled   # 50 minutes on one core; can be stopped
    python experiments/shared_features/shuffled.py --workdir=runs/shuffled --quick --outdir=runs/quick

The network of `digits` (a rate that stays) after 24 core-minutes on pictures, words and speech of one class, and after as many
on rows whose three are of any class. Then their inner maps are compared as in run.py: by how much are true pairs more alike than
pairings of the classes by chance? Writes shuffled.json after every figure, then shuffled.md and shuffled.png, beside this file
or to --outdir.
"""

import itertools
import pathlib
import sys

from run import compared, picture, table

from jointdiff.evaluate.record import Record
from jointdiff.state import load_weights

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from contenders import arguments, on_digits, train_each  # noqa: E402

MINUTES = 24
CONFIGS = {"pairs": on_digits(), "shuffled": on_digits({"data.shuffled": True})}
LEVELS = (0.0, 1.0)


def main():
    args = arguments(__doc__, "shuffled", HERE, CONFIGS, num=1000, seeds=1)
    minutes, num, draws = (0.02, 60, 9) if args.quick else (MINUTES, args.num, 199)
    if not train_each(args, CONFIGS, [minutes]):
        return
    models = {n: load_weights(args.workdir / n / f"{minutes:g}.safetensors") for n in CONFIGS}
    names = models["pairs"].layout.names
    setting = {"num": num, "draws": draws, "minutes": minutes, "quick": args.quick}
    result = Record(args.outdir / "shuffled.json", setting, rows=[])
    work = [(n, *p, level) for n in models for p in itertools.combinations(names, 2) for level in LEVELS]
    compared(result, work, models.get, num, draws, 0)
    (args.outdir / "shuffled.md").write_text(table(result))
    picture(result).savefig(args.outdir / "shuffled.png", dpi=110)
    print(table(result))


if __name__ == "__main__":
    main()
