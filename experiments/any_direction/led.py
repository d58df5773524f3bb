"""Can a modality that a network reads better than it draws be drawn by reading it?

    python experiments/any_direction/led.py --model=joint                                    # 45 minutes
    python experiments/any_direction/led.py --quick --model=runs/keypad --led=image --outdir=runs/quick
    python experiments/any_direction/led.py --model=... --judge=runs/judge/cifar10-....safetensors --name=led_other_judge

One modality is drawn from each of the others alone, all else drawn too, at once and in turns, a word first; and from nothing in
turns. Without guidance, with classifier-free guidance, and led by reading (`reading={...}`), always the same view or every time
another one (`config.sample.reading_shift`). How often it shows the class, from nothing the word's; the Fréchet distance between
what is drawn of words and real test items in the features of its judge, and what as many real ones have. Test rows. With `--judge`
what is drawn is judged by other weights than those that come with the package, of another training (experiments/judges/run.py
--seed=1). Writes NAME.json after every row, then NAME.md and NAME.png, beside this file or to --outdir.
"""

import argparse
import pathlib

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import restored, shown
from jointdiff.evaluate import frechet
from jointdiff.evaluate.judge import build_judges, ceiling, load_judge
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
WAYS = {  # guidance, the weight of reading, and by how many pixels what is read is moved
    "nothing": (0.0, 0.0, 0),
    "reading moved views": (0.0, 25.0, 6),
    "reading": (0.0, 25.0, 0),
    "classifier-free guidance 3": (3.0, 0.0, 0),
}
REAL = 2000


def measured(model, judges, data, led: str, word: str, num: int, seed: int, **how) -> tuple[dict, torch.Tensor, int]:
    """The figures of one way over `num` test rows of this seed's own, the judge's features of what words gave, and the
    evaluations of one of these."""
    values, _, labels, _ = data.rows(seed * num, num)
    others, out = [n for n in model.layout.names if n != led], {}
    for given in others:
        drawn = model.sample({given: values[given]}, num, seed, **how)
        out[f"{given} → {led}"] = share(judges[led].judge(drawn[led]) == shown(data, given, labels))
        if given == word:
            features, cost = judges[led].features(drawn[led]), drawn.info["evaluations"]
        else:
            drawn = model.sample({given: values[given]}, num, seed, order=[word, led], **how)[led]
            out[f"{given} → {word} → {led}"] = share(judges[led].judge(drawn) == shown(data, given, labels))
    drawn = model.sample(num=num, seed=seed, order=[word, led], **how)
    seen = {n: judges[n].judge(drawn[n]) for n in model.layout.names}
    out[f"nothing, in turns: {led} = {word}"] = share(seen[led] == seen[word])
    out["nothing, in turns: all agree"] = share(torch.stack([s == seen[word] for s in seen.values()]).all(0))
    return out, features, cost


def share(right: torch.Tensor) -> float:
    return float(right.double().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--led", default="picture", help="the modality that is drawn")
    parser.add_argument("--word", default="text", help="the modality that is drawn first in turns")
    parser.add_argument("--judge", type=pathlib.Path, help="weights of a judge of what is drawn, instead of its own")
    parser.add_argument("--name", default="led", help="of the results")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="some of them alone")
    parser.add_argument("--num", type=int, default=100, help="test rows a figure and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, how = (8, 2, {"steps": 2}) if args.quick else (args.num, args.seeds, {"steps": 18})
    model, led = jointdiff.load(args.model), args.led
    model.layout.check((led, args.word))
    model.config.sample.guidance_between = (0.0, 1.0)
    judges, data = build_judges(model.config, model.modalities), build.data(model.config, model.modalities, "test")
    if args.judge:
        judges[led] = load_judge(args.judge)
    setting = {"model": args.model, "led": led, "word": args.word, "num": num, "seeds": seeds, "quick": args.quick}
    setting |= {"judge": args.judge.name} if args.judge else {}
    result = Record(args.outdir / f"{args.name}.json", setting, rows=[])
    result["ceiling"] = ceiling(judges[led], model.config, led, model.modalities[led])
    features = judges[led].features(restored(data.values[led][:REAL]))
    result["real"] = frechet(features[: num * seeds], features[len(features) // 2 :])
    work = [(way, s) for way in args.ways for s in range(seeds)]
    done = {r["way"] for r in result["rows"]}
    with tqdm(total=len(work), unit="figure", disable=None, initial=sum(w in done for w, _ in work)) as bar:
        for way in args.ways:
            if way in done:
                continue
            guidance, weight, shift = WAYS[way]
            found, model.config.sample.reading_shift[led] = [], shift
            for seed in range(seeds):
                told = {"guidance": guidance, "reading": {led: weight}, **how}
                found.append(measured(model, judges, data, led, args.word, num, seed, **told))
                bar.update()
            figures, drawn, (cost, *_) = zip(*found)
            distance = frechet(torch.cat(drawn), features[len(features) // 2 :])
            result["rows"].append({"way": way, "evaluations": cost, "frechet": distance, "figures": figures})
            result.save()
    (args.outdir / f"{args.name}.md").write_text(table(result))
    shown_of_words(model, args).save(args.outdir / f"{args.name}.png")
    print(table(result))


def table(result) -> str:
    """Markdown, a row a way, mean and standard deviation over seeds."""
    names = list(result["rows"][0]["figures"][0])
    lines = [
        f"| led by | evaluations | {' | '.join(names)} | Fréchet distance |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in result["rows"]:
        figures = [[f[n] for f in row["figures"]] for n in names]
        cells = [plus_minus(v) for v in figures]
        lines.append(f"| {row['way']} | {row['evaluations']} | {' | '.join(cells)} | {row['frechet']:.1f} |")
    ceiling_of_all = [f"{result['ceiling']:.3f}"] * (len(names) - 1)  # but of the last, in which all agree
    real = ["", *ceiling_of_all, "", f"{result['real']:.1f}"]
    return "\n".join([*lines, f"| (real test data) | {' | '.join(real)} |"]) + "\n"


def shown_of_words(model, args) -> PIL.Image.Image:
    """What words draw, without and with reading."""
    data = build.data(model.config, model.modalities, "test")
    panels, many = [], 2 if args.quick else 8
    for title, way in (("by words", "nothing"), ("by words, led by reading moved views", "reading moved views")):
        _, weight, model.config.sample.reading_shift[args.led] = WAYS[way]
        told = {"reading": {args.led: weight}, "guidance": 0.0, "steps": 2 if args.quick else 18}
        panels.append(titled(of_each_class(model, data, args.word, args.led, many, **told), title))
    return PIL.Image.fromarray(beside(panels))


def of_each_class(model, data, given: str, drawn: str, many: int, **how) -> np.ndarray:
    """What the first test item of each class draws, a row a class, in all of them from the same noise."""
    values, _, labels, _ = data.rows(0, 200)
    items = [values[given][int((labels == k).nonzero()[0])] for k in labels.unique()]
    rows = [model.sample({given: item[None]}, many, 0, **how)[drawn] for item in items]
    cell = lambda x: grid_picture({drawn: model.modalities[drawn]}, {drawn: x[None]}, ())
    return np.concatenate([np.concatenate([cell(x) for x in row], 1) for row in rows])


if __name__ == "__main__":
    main()
