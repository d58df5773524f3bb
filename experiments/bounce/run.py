"""A film and its sound, a caption and a picture: do they belong together, and in step?

    python experiments/bounce/run.py                       # the real test scenes: what the measures say of the truth, and of chance
    python experiments/bounce/run.py --model=runs/bounce   # what a network draws; goes on where it stopped
    python experiments/bounce/run.py --quick

Every impact of a test scene is known, so what is drawn from it is measured against the truth. Writes result.json after every
question, then result.md and scenes.png, or films.png and film.gif, beside this file or to --outdir.
"""

import argparse
import io
import json
import pathlib
import statistics
import subprocess
import time
import types

import numpy as np
import PIL.Image
import torch
from scipy.optimize import least_squares
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.config import from_file
from jointdiff.data import restored
from jointdiff.data.bounce import BOX, FRAMES, PITCH, RATE, SIDE, Motion, motion
from jointdiff.evaluate.classifiers import train_small
from jointdiff.evaluate.synchrony import av_align, hits, onsets
from jointdiff.files import write_atomically
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
FRAME = 1 / FRAMES


def followed(film: np.ndarray) -> tuple[Motion, float]:
    """The motion of the bright thing in a film `(16, 32, 32)`, as the folded line that fits its centre best, and how far the
    centre is from that line, root mean square in pixels."""
    light = np.clip(film.astype(float) - 40, 0, None) + 1e-9
    total = light.sum((1, 2))
    centre = np.stack([(light.sum(2) * np.arange(BOX)).sum(1), (light.sum(1) * np.arange(BOX)).sum(1)]) / total
    room, times = BOX - SIDE, np.arange(FRAMES)
    v = np.concatenate([np.arange(-3.6, -1.2, 0.1), np.arange(1.3, 3.7, 0.1)])
    starts, shifts = np.arange(0, room + 0.1, 1.0), np.arange(3.5, 8.0, 0.5)

    def line(start, speed, shift):
        free = start[..., None] + speed[..., None] * times
        return room - abs(free % (2 * room) - room) + shift[..., None]

    place, out, error = np.meshgrid(starts, v, shifts, indexing="ij"), [], []
    for seen in centre:
        far = abs(line(*place) - seen).clip(max=4).sum(-1)
        best = np.unravel_index(far.argmin(), far.shape)
        gap = lambda p, seen=seen: line(*(np.asarray(q) for q in p)) - seen
        start, speed, shift = least_squares(gap, [p[best] for p in place], loss="soft_l1").x
        error.append(np.square(gap((start, speed, shift))).mean())
        start %= 2 * room  # the same line from a start inside the box: beyond it the way is the other one
        out.append((2 * room - start, -speed, shift) if start > room else (start, speed, shift))
    (y, vy, _), (x, vx, _) = out
    return Motion(np.array([[y, x]]), np.array([[vy, vx]])), float(np.sqrt(sum(error)))


def walls(wave: np.ndarray, times: np.ndarray) -> list[str]:
    """Which wall each onset sounds like: the pitch with the most power in the 40 ms from there."""
    out = []
    for t in times:
        part = wave[int(t * RATE) : int((t + 0.04) * RATE)]
        phase = np.exp(-2j * np.pi * np.outer(list(PITCH.values()), np.arange(len(part)) / RATE))
        out.append(list(PITCH)[int(abs(phase @ part).argmax())] if len(part) else "side")
    return out


def in_step(impacts, found) -> dict:
    """Known impacts of all rows against those found, both `[(seconds, wall)]`."""
    rows = [hits(np.array([t for t, _ in a]), np.array([t for t, _ in b]), FRAME) for a, b in zip(impacts, found)]
    share, right, error = np.nanmean(np.array(rows), axis=0)
    same = [w == min(b, key=lambda q: abs(q[0] - t))[1] for a, b in zip(impacts, found) if b for t, w in a
            if min(abs(q[0] - t) for q in b) <= FRAME]  # fmt: skip
    return {"impacts hit": float(share), "found that are impacts": float(right), "error, ms": float(1000 * error),
            "right wall": float(np.mean(same)) if same else float("nan")}  # fmt: skip


def aligned(waves, films) -> float:
    """AV-Align, the mean over pairs."""
    return float(np.nanmean([av_align(w, RATE, f, FRAMES) for w, f in zip(waves, films)]))


class Scenes:
    """Test scenes as they are encoded, and all that is known of them."""

    def __init__(self, model, first: int, num: int):
        data = build.data(model.config, model.modalities, "test")
        self.rows = slice(first, first + num)
        self.values = {n: restored(v[self.rows]) for n, v in data.values.items()}
        self.worlds, self.model, self.num = data.classes[self.rows], model, num
        flight = motion("test", first + num)[self.rows]
        self.flight = flight
        self.impacts = [[(t / FRAMES, w) for t, w in flight.impacts(row)] for row in range(num)]
        self.position = flight.position(np.arange(FRAMES))

    def heard(self, sound: torch.Tensor) -> list:
        waves = self.model.modalities["sound"].decode(sound)
        return [list(zip(times, walls(wave, times))) for wave in waves for times in [onsets(wave, RATE)]]

    def seen(self, film: torch.Tensor) -> tuple[list, np.ndarray, np.ndarray]:
        """Impacts, first directions as 2 x down + right, and the distance from the fitted line."""
        found = [followed(f) for f in self.model.modalities["film"].decode(film)]
        impacts = [[(t / FRAMES, w) for t, w in flight.impacts(0)] for flight, _ in found]
        direction = np.array([(f.velocity[0] > 0) @ np.array([2, 1]) for f, _ in found])
        return impacts, direction, np.array([rms for _, rms in found])


def frame_judge(model, updates: int):
    """A classifier of the digit in one frame, trained on frames of training scenes."""
    data = build.data(model.config, model.modalities, "train")
    rows = torch.arange(0, len(data), max(1, len(data) // 4000))
    frames = data.values["film"][rows][:, ::3].reshape(-1, 1, BOX, BOX)
    labels = (data.classes[rows] // 4).repeat_interleave(len(range(0, FRAMES, 3)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return train_small(frames, labels, 0, updates=updates)


def digits(judge, film: torch.Tensor) -> torch.Tensor:
    """The digit of every frame, `(N, 16)`."""
    return judge.judge(film.reshape(-1, 1, BOX, BOX)).view(len(film), FRAMES)


def real(s: Scenes, judge) -> dict:
    """The measures on the test scenes themselves, and on shuffled pairs."""
    impacts, direction, rms = s.seen(s.values["film"])
    heard = s.heard(s.values["sound"])
    waves, films = (
        s.model.modalities["sound"].decode(s.values["sound"]),
        s.model.modalities["film"].decode(s.values["film"]),
    )
    seen = digits(judge, s.values["film"])
    return {
        "sound": in_step(s.impacts, heard),

        "sound of another scene": in_step(s.impacts, heard[1:] + heard[:1]),
        "film of another scene": in_step(s.impacts, impacts[1:] + impacts[:1]),
        "film": in_step(s.impacts, impacts) | {"off the line, pixels": float(np.median(rms))},
        "AV-Align": aligned(waves, films),
        "AV-Align of shuffled pairs": aligned(waves, [*films[1:], films[0]]),
        "digit": float((seen.mode(1).values == s.worlds // 4).double().mean()),
        "one digit in all frames": float((seen == seen.mode(1).values[:, None]).double().mean()),
        "direction": float((torch.from_numpy(direction) == s.worlds % 4).double().mean()),
    }  # fmt: skip


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


def of_film(s: Scenes, judge, film) -> dict:
    _, direction, rms = s.seen(film)
    seen = digits(judge, film)
    return {
        "digit": float((seen.mode(1).values == s.worlds // 4).double().mean()),
        "one digit in all frames": float((seen == seen.mode(1).values[:, None]).double().mean()),
        "direction": float((torch.from_numpy(direction) == s.worlds % 4).double().mean()),
        "off the line, pixels": float(np.median(rms)),
    }


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
    flights = [followed(f)[0].position(np.arange(FRAMES))[0] for f in drawn.raw("film")]
    away = np.linalg.norm(np.array(flights) - s.position, axis=2)
    return of_film(s, judge, drawn["film"]) | {"pixels from its path, median": float(np.median(away[:, 3:])),
                                               "in the last frame": float(np.median(away[:, -1]))}  # fmt: skip


def between(s: Scenes, judge, seed) -> dict:
    """The twelve frames between the first two and the last two."""
    film = s.values["film"]
    drawn = s.model.sample(
        {"film[0:2]": film[:, :2], "film[-2:]": film[:, -2:]}, s.num, seed, leave_out=["picture", "sound", "caption"]
    )
    flights = [followed(f)[0].position(np.arange(FRAMES))[0] for f in drawn.raw("film")]
    away = np.linalg.norm(np.array(flights) - s.position, axis=2)
    return of_film(s, judge, drawn["film"]) | {"pixels from its path, median": float(np.median(away[:, 2:-2]))}


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
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    num, seeds = (4, 1) if args.quick else (args.num, args.seeds)
    model = jointdiff.load(args.model) if args.model else untrained()
    args.outdir.mkdir(parents=True, exist_ok=True)
    path = args.outdir / "result.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    setting = {"model": args.model, "num": num, "seeds": seeds}
    if result and {k: result[k] for k in setting} != setting:
        raise SystemExit(f"{path} was made with other arguments; name another --outdir")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    threads = f"cpu, {torch.get_num_threads()} thread(s)"
    result = {**setting, "torch": torch.__version__, "commit": commit.stdout.strip(), "device": threads, **result}
    if args.model and "seconds of 4 results, 18 steps" not in result:
        model.sample(num=4, steps=2)
        began = time.perf_counter()
        model.sample(num=4, steps=18)
        result["seconds of 4 results, 18 steps"] = time.perf_counter() - began
    judge = frame_judge(model, 20 if args.quick else 800)
    scenes = [Scenes(model, seed * num, num) for seed in range(seeds)]
    if "real" not in result:
        result["real"] = [real(s, judge) for s in scenes]
    done = result.setdefault("questions", {})
    for name in tqdm([q for q in QUESTIONS if q not in done and args.model], disable=None, unit="question"):
        done[name] = [QUESTIONS[name](s, judge, i) for i, s in enumerate(scenes)]
        write_atomically(path, lambda p: p.write_text(json.dumps(result, indent=1) + "\n"))
    write_atomically(path, lambda p: p.write_text(json.dumps(result, indent=1) + "\n"))
    (args.outdir / "result.md").write_text(table(result))
    if args.model:
        pictures(model, scenes[0], args.outdir)
    else:
        panel = grid_picture(model.modalities, {n: v[:6] for n, v in scenes[0].values.items()}, ())
        PIL.Image.fromarray(panel).save(args.outdir / "scenes.png")
    print(table(result))


def told(rows: list[float]) -> str:
    spread = f" ± {statistics.stdev(rows):.3f}" if len(rows) > 1 else ""
    return f"{statistics.fmean(rows):.3f}{spread}"


def table(result) -> str:
    lines = ["| real scenes | measure | figure |", "|---|---|---|"]
    for part in ("sound", "film"):
        lines += [f"| {part} | {m} | {told([r[part][m] for r in result['real']])} |" for m in result["real"][0][part]]
    whole = [m for m, v in result["real"][0].items() if isinstance(v, float)]
    lines += [f"| both | {m} | {told([r[m] for r in result['real']])} |" for m in whole]
    lines += (
        ["", "| question | measure | figure | of the real scenes |", "|---|---|---|---|"] if result["questions"] else []
    )
    known = {"film → sound": "sound", "sound → film": "film"}
    for question, rows in result["questions"].items():
        for measure in rows[0]:
            beside = [
                r[known[question]] if question in known and measure in r[known[question]] else r for r in result["real"]
            ]
            truth = told([r[measure] for r in beside]) if all(measure in r for r in beside) else ""
            lines.append(f"| {question} | {measure} | {told([r[measure] for r in rows])} | {truth} |")
    lines += ["", "| by chance: of another scene | impacts hit | found that are impacts |", "|---|---|---|"]
    for name in ("sound", "film"):
        rows = [r[f"{name} of another scene"] for r in result["real"]]
        lines.append(
            f"| {name} | {told([r['impacts hit'] for r in rows])} | {told([r['found that are impacts'] for r in rows])} |"
        )
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
