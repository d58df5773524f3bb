"""A film and its sound, a caption and a picture: do they belong together, and in step?

    python experiments/bounce/run.py                       # the real test scenes: what the measures say of the truth, and of chance
    python experiments/bounce/run.py --model=runs/bounce   # what a network draws; goes on where it stopped
    python experiments/bounce/run.py --quick

Every impact of a test scene is known, so what is drawn from it is measured against the truth. Writes result.json after every
question, then result.md and scenes.png, or films.png and film.gif, beside this file or to --outdir.
"""

import argparse
import io
import pathlib
import time
import types

import numpy as np
import PIL.Image
from measures import Scenes, aligned, away, frame_judge, in_step, of_film, real
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.config import from_file
from jointdiff.data.bounce import FRAMES
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent


def film_to_sound(s: Scenes, judge, seed) -> dict:
    drawn = s.model.sample({"film": s.values["film"]}, s.num, seed, leave_out=["picture", "caption"])
    waves, films = drawn.raw("sound"), s.model.modalities["film"].decode(s.values["film"])
    out = in_step(s.impacts, s.heard(drawn["sound"]))
    return out | {"AV-Align": aligned(waves, films)}


def sound_to_film(s: Scenes, judge, seed) -> dict:
    drawn = s.model.sample({"sound": s.values["sound"]}, s.num, seed, leave_out=["picture", "caption"])
    impacts, _, rms = s.seen(drawn["film"])
    waves = s.model.modalities["sound"].decode(s.values["sound"])
    align = aligned(waves, drawn.raw("film"))
    return in_step(s.impacts, impacts) | {"off the line, pixels": float(np.median(rms)), "AV-Align": align}


def caption_to_film(s: Scenes, judge, seed) -> dict:
    drawn = s.model.sample({"caption": s.values["caption"]}, s.num, seed, leave_out=["picture", "sound"])
    return of_film(s, judge, drawn["film"])


def caption_to_all(s: Scenes, judge, seed) -> dict:
    """At once, and then in three stages; the sound is drawn too."""
    once = s.model.sample({"caption": s.values["caption"]}, s.num, seed)
    impacts, _, _ = s.seen(once["film"])
    return of_film(s, judge, once["film"]) | in_step(impacts, s.heard(once["sound"]))


def caption_to_picture_to_film(s: Scenes, judge, seed) -> dict:
    drawn = s.model.sample({"caption": s.values["caption"]}, s.num, seed, order=["picture", "film", "sound"])
    impacts, _, _ = s.seen(drawn["film"])
    return of_film(s, judge, drawn["film"]) | in_step(impacts, s.heard(drawn["sound"]))


def film_to_caption(s: Scenes, judge, seed) -> dict:
    drawn = s.model.sample({"film": s.values["film"]}, s.num, seed, leave_out=["picture", "sound"])
    wanted = s.model.modalities["caption"].decode(s.values["caption"])
    return {"to the letter": float(np.mean([a == b for a, b in zip(drawn.texts("caption"), wanted)]))}


def continued(s: Scenes, judge, seed, key="film[0:3]") -> dict:
    """The film from some of its frames, without sound: where the digit is in those that were drawn, against where it goes."""
    place = s.model.layout.place(key)
    start = s.model.layout.slices["film"].start
    given = {key: s.values["film"][:, place.start - start : place.stop - start]}
    drawn = s.model.sample(given, s.num, seed, leave_out=["picture", "sound", "caption"])
    far = away(s, drawn.raw("film"))
    return of_film(s, judge, drawn["film"]) | {"pixels from its path, median": float(np.median(far[:, 3:])),
                                               "in the last frame": float(np.median(far[:, -1]))}  # fmt: skip


def between(s: Scenes, judge, seed) -> dict:
    """The twelve frames between the first two and the last two."""
    film = s.values["film"]
    drawn = s.model.sample(
        {"film[0:2]": film[:, :2], "film[-2:]": film[:, -2:]}, s.num, seed, leave_out=["picture", "sound", "caption"]
    )
    far = away(s, drawn.raw("film"))
    return of_film(s, judge, drawn["film"]) | {"pixels from its path, median": float(np.median(far[:, 2:-2]))}


QUESTIONS = {
    "film → sound": film_to_sound,
    "sound → film": sound_to_film,
    "caption → film": caption_to_film,
    "caption → film, sound, picture": caption_to_all,
    "caption → picture → film → sound": caption_to_picture_to_film,
    "film → caption": film_to_caption,
    "first three frames → film": continued,
    "two frames at each end → film": between,
}


def untrained():
    """What the measures need of a model, by the config alone: the real scenes can be measured without one."""
    config = from_file(HERE.parents[1] / "configs" / "bounce.py")
    modalities = build.modalities(config)
    return types.SimpleNamespace(config=config, modalities=modalities, layout=build.layout(config, modalities))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="shipped weights, a workdir, or a safetensors file; the real scenes alone without it"
    )
    parser.add_argument("--num", type=int, default=200, help="test scenes a question and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--guidance", type=float, help="the model's own when not named")
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    num, seeds = (4, 1) if args.quick else (args.num, args.seeds)
    model = jointdiff.load(args.model) if args.model else untrained()
    setting = {"model": args.model, "num": num, "seeds": seeds, "guidance": args.guidance}
    if args.model and args.guidance is not None:
        model.config.sample.guidance = args.guidance
    result = Record(args.outdir / "result.json", setting, real=[], questions={})
    if args.model and "seconds of 4 results, 18 steps" not in result:
        model.sample(num=4, steps=2)
        began = time.perf_counter()
        model.sample(num=4, steps=18)
        result["seconds of 4 results, 18 steps"] = time.perf_counter() - began
    judge = frame_judge(model, 20 if args.quick else 800)
    scenes = [Scenes(model, seed * num, num) for seed in range(seeds)]
    if not result["real"]:
        result["real"] = [real(s, judge) for s in scenes]
    done = result["questions"]
    for name in tqdm([q for q in QUESTIONS if q not in done and args.model], disable=None, unit="question"):
        done[name] = [QUESTIONS[name](s, judge, i) for i, s in enumerate(scenes)]
        result.save()
    result.save()
    (args.outdir / "result.md").write_text(table(result))
    if args.model:
        pictures(model, scenes[0], args.outdir)
    else:
        panel = grid_picture(model.modalities, {n: v[:6] for n, v in scenes[0].values.items()}, ())
        PIL.Image.fromarray(panel).save(args.outdir / "scenes.png")
    print(table(result))


def table(result) -> str:
    lines = ["| real scenes | measure | figure |", "|---|---|---|"]
    for part in ("sound", "film"):
        lines += [
            f"| {part} | {m} | {plus_minus([r[part][m] for r in result['real']])} |" for m in result["real"][0][part]
        ]
    whole = [m for m, v in result["real"][0].items() if isinstance(v, float)]
    lines += [f"| both | {m} | {plus_minus([r[m] for r in result['real']])} |" for m in whole]
    lines += (
        ["", "| question | measure | figure | of the real scenes |", "|---|---|---|---|"] if result["questions"] else []
    )
    known = {"film → sound": "sound", "sound → film": "film"}
    for question, rows in result["questions"].items():
        for measure in rows[0]:
            beside = [
                r[known[question]] if question in known and measure in r[known[question]] else r for r in result["real"]
            ]
            truth = plus_minus([r[measure] for r in beside]) if all(measure in r for r in beside) else ""
            lines.append(f"| {question} | {measure} | {plus_minus([r[measure] for r in rows])} | {truth} |")
    lines += ["", "| by chance: of another scene | impacts hit | found that are impacts |", "|---|---|---|"]
    for name in ("sound", "film"):
        rows = [r[f"{name} of another scene"] for r in result["real"]]
        hit, found = (plus_minus([r[m] for r in rows]) for m in ("impacts hit", "found that are impacts"))
        lines.append(f"| {name} | {hit} | {found} |")
    if result["questions"]:
        lines += [
            "",
            f"Four results in 18 steps: {result['seconds of 4 results, 18 steps']:.1f} s ({result['device']}).",
        ]
    return "\n".join(lines) + "\n"


def pictures(model, s: Scenes, outdir: pathlib.Path, rows: int = 4) -> None:
    """films.png, a panel a question, and film.gif, films that are drawn from captions, side by side."""
    panels, first = [], {n: v[:rows] for n, v in s.values.items()}
    for given in (["film"], ["sound"], ["caption"], []):
        drawn = model.sample({n: first[n] for n in given}, rows)
        title = f"{' + '.join(given) or 'nothing'} -> {' + '.join(n for n in drawn if n not in given)}"
        panels.append(titled(grid_picture(model.modalities, drawn, given), title))
    wide = max(p.shape[1] for p in panels)
    panels = [np.pad(p, ((0, 16), (0, wide - p.shape[1]), (0, 0)), constant_values=255) for p in panels]
    lines = [beside(panels[i : i + 2]) for i in (0, 2)]
    PIL.Image.fromarray(np.concatenate(lines)).save(outdir / "films.png")
    drawn = model.sample({"caption": first["caption"]}, rows)
    names = [t.replace("\n", " ") for t in drawn.texts("caption")]
    frames = []
    for i in range(FRAMES):
        tiles = [
            titled(f[i].repeat(6, 0).repeat(6, 1)[..., None].repeat(3, 2), n) for f, n in zip(drawn.raw("film"), names)
        ]
        frames.append(PIL.Image.fromarray(beside(tiles, 8)))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=110, loop=0)
    (outdir / "film.gif").write_bytes(file.getvalue())


if __name__ == "__main__":
    main()
