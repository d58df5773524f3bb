"""Films: read from whatever holds frames, written without loss, and given in part."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from test_training import tiny

from jointdiff import config as cfg
from jointdiff.layout import Layout
from jointdiff.loss import PATTERNS, TimePatterns
from jointdiff.modalities import Video
from jointdiff.trainer import Trainer
from jointdiff.training import fit


def clip(frames=4, mode="L", size=(12, 12), seed=0):
    shape = (frames, *size) if mode == "L" else (frames, *size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def saved(path, film, **how):
    first, *others = (PIL.Image.fromarray(frame) for frame in film)
    first.save(path, save_all=True, append_images=others, duration=100, loop=0, **how)
    return str(path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_film_of_the_grids_size_survives(mode):
    kind, film = Video((12, 12), 4, mode), clip(4, mode)
    x = kind.encode(film[None])
    assert x.shape == (1, kind.channels, 12, 12) and kind.parts == 4
    assert np.array_equal(kind.decode(x)[0], film)
    assert torch.equal(kind.of(2).encode(film[None, 1:3]), x[:, kind.channels // 4 : 3 * kind.channels // 4])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_animated_file_is_read_back_exactly(mode, tmp_path):
    kind, film = Video((12, 12), 4, mode), clip(4, mode)
    path = tmp_path / "x.film"
    path.write_bytes(kind.movie(kind.encode(film[None]))[0])
    assert np.array_equal(kind.read(str(path))[0], film)
    with PIL.Image.open(path) as file:
        assert file.n_frames == 4
        file.seek(1)
        file.load()
        assert file.info["duration"] in (120, 125)  # GIF counts in hundredths of a second


@pytest.mark.parametrize("suffix, how", [("webp", {"lossless": True}), ("png", {}), ("gif", {})])
def test_films_are_read_from_every_format(suffix, how, tmp_path):
    film = clip(5)
    got = Video((12, 12), 5).read(saved(tmp_path / f"x.{suffix}", film, **how))[0]
    assert got.shape == film.shape and abs(got.astype(int) - film).max() <= 1


def test_a_folder_of_frames_is_read_in_the_order_of_its_numbers(tmp_path):
    film = clip(12)
    for i, frame in enumerate(film):
        PIL.Image.fromarray(frame).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert np.array_equal(Video((12, 12), 12).read(str(tmp_path))[0], film)


def test_a_compressed_film_is_read(tmp_path):
    """A bright half that wanders from left to right is found there again."""
    av = pytest.importorskip("av")
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for half in range(2):
            picture = np.zeros((32, 32, 3), np.uint8)
            picture[:, 16 * half : 16 * half + 16] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture)):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    film = Video((16, 16), 2).read(str(path))[0]
    assert len(film) == 2 and film[0, :, :12].min() > 200 > 50 > film[0, :, 20:].max() and film[1, :, 20:].min() > 200


def test_a_strip_shows_every_frame_in_order():
    kind, film = Video((12, 12), 10), clip(10)
    strip = kind.picture(kind.encode(film[None]))[0]
    assert strip.shape == (25, 103, 3)
    assert np.array_equal(strip[:12, 13:25, 0], film[1]) and np.array_equal(strip[13:, 13:25, 0], film[9])


BAD = [
    (lambda p: str(p / "no.gif"), "no film at"),
    (lambda p: str(p / "broken.gif"), "is not a film that can be read"),
    (lambda p: str(p / "cut.gif"), "is not a film that can be read"),
    (lambda p: str(p / "empty"), "no pictures in the folder"),
    (lambda p: str(p / "sizes"), "differ in size"),
    (lambda p: str(p / "broken.mp4"), "is not a film that can be read"),
    (lambda p: str(p / "no.mp4"), "no film at"),
    (lambda p: np.zeros((4, 12, 12)), "a film is uint8"),
    (lambda p: np.zeros((12, 12), np.uint8), "a film is uint8"),
    (lambda p: 7, "expected the path of a film"),
    (lambda p: clip(3), "the clip has 3 frames, expected 4"),
    (lambda p: clip(5), "the clip has 5 frames, expected 4"),
]


@pytest.mark.parametrize("make, message", BAD, ids=[message for _, message in BAD])
def test_what_is_no_such_film_is_said(make, message, tmp_path):
    whole = saved(tmp_path / "whole.gif", clip(4, size=(40, 40)))
    (tmp_path / "broken.gif").write_bytes(b"GIF89a nothing")
    with open(whole, "rb") as file:
        (tmp_path / "cut.gif").write_bytes(file.read()[:4000])
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sizes").mkdir()
    for i, side in enumerate((8, 9)):
        PIL.Image.new("L", (side, side)).save(tmp_path / "sizes" / f"{i}.png")
    kind = Video((12, 12), 4)
    with pytest.raises(ValueError, match=message):
        kind.encode(kind.read(make(tmp_path)))


def test_with_cut_a_longer_clip_loses_its_end():
    film = clip(6)
    assert torch.equal(Video((12, 12), 4, cut=True).encode(film[None]), Video((12, 12), 4).encode(film[None, :4]))


LAYOUT = Layout({"a": 1, "film": 8, "b": 2}, (2, 2), parts={"film": 4})


@pytest.mark.parametrize(
    "key, parts, place",
    [
        ("a", range(1), slice(0, 1)),
        ("film", range(4), slice(1, 9)),
        ("film[0:3]", range(3), slice(1, 7)),
        ("film[:2]", range(2), slice(1, 5)),
        ("film[1:]", range(1, 4), slice(3, 9)),
        ("film[-1]", range(3, 4), slice(7, 9)),
        ("film[2]", range(2, 3), slice(5, 7)),
    ],
)
def test_parts_are_named_as_slices_are(key, parts, place):
    assert LAYOUT.where(key) == (key.split("[")[0], parts)
    assert LAYOUT.place(key) == place
    assert (
        LAYOUT.mask([key]).flatten().nonzero().flatten().tolist() == list(range(12))[place][: place.stop - place.start]
    )


@pytest.mark.parametrize(
    "key", ["film[2:2]", "film[0:9]", "film[4]", "film[-5]", "film[]", "film[x]", "film[1:2:3]", "a[0]", "c[0]"]
)
def test_a_range_out_of_bounds_is_said(key):
    with pytest.raises(ValueError):
        LAYOUT.where(key)


def test_the_same_part_is_not_given_twice():
    assert LAYOUT.whole(["film[0:2]", "film[2:4]", "a"]) == ("a",)
    with pytest.raises(ValueError, match="share a part"):
        LAYOUT.whole(["film[0:2]", "film[1]"])
    assert LAYOUT.whole(["film[0]"], ["film"]) == ()  # of a film its first frame is given and the rest left out
    with pytest.raises(ValueError, match="both given and left out"):
        LAYOUT.whole(["film[0:4]"], ["film"])


def test_training_shows_ranges_of_parts():
    """In the share of the rows that was asked for; from the beginning on in half of them, never everything."""
    draw = TimePatterns({"joint": 1.0}, dict.fromkeys(PATTERNS, (0.0, 1.0)), parts=(1, 4, 1), known_parts=0.8).draw
    known = draw(20000, 3, torch.Generator().manual_seed(0)).known
    assert not known[:, 0].any() and not known[:, 5].any()
    film = known[:, 1:5]
    assert not film.all(1).any()
    starts = (film[:, 1:] & ~film[:, :-1]).sum(1) + film[:, 0].long()
    assert starts.max() == 1  # one range
    # of two ends from 0 to 4, sorted, the first set to 0 half of the time, those that hold some parts and not all
    ends = [(sorted((i, j)), z) for i in range(5) for j in range(5) for z in (True, False)]
    shown = [(0 if z else i, j) for (i, j), z in ends]
    expected = sum(1 for i, j in shown if 0 < j - i < 4) / len(shown)
    assert film.any(1).float().mean().item() == pytest.approx(0.8 * expected, abs=0.01)
    loss_on = draw(20000, 3, torch.Generator().manual_seed(0)).target
    assert loss_on.all()


def film_run(home):
    """A model of films and pictures of a table, run in a folder."""
    lines = ["film,photo"]
    for i in range(12):
        saved(home / f"{i}.gif", clip(4, seed=i))
        PIL.Image.fromarray(clip(1, seed=i)[0]).save(home / f"{i}.png")
        lines.append(f"{i}.gif,{i}.png")
    (home / "t.csv").write_text("\n".join(lines))
    c = tiny(steps=2)
    c.data.manifest, c.data.modalities, c.data.grid = str(home / "t.csv"), (), (12, 12)
    c.modality = cfg.ConfigDict()
    c.train.evaluate_every, c.sample.steps, c.backbone.blank = 0, 3, True
    trainer = Trainer(c, home / "run")
    fit(trainer)
    return trainer.model()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    home = tmp_path_factory.mktemp("films")
    return film_run(home), home


def test_a_tables_films_are_found(films):
    model, _ = films
    assert model.config.modality.film.to_dict()["options"] == {"frames": 4, "mode": "L", "cut": False}
    assert model.layout.parts == {"film": 4, "photo": 1}


def test_some_frames_are_given_and_the_others_drawn(films):
    model, home = films
    film = clip(4, seed=3)
    drawn = model.sample({"film[0:3]": str(home / "3.gif")}, 2)
    assert np.array_equal(drawn.raw("film")[:, :3], np.stack([film[:3]] * 2))
    assert not np.array_equal(drawn.raw("film")[0, 3], drawn.raw("film")[1, 3]) and "photo" in drawn
    assert drawn.given == ("film[0:3]",)
    short = model.sample({"film[0:3]": film[:3]}, 2)
    assert torch.equal(short["film"], drawn["film"])
    both = model.sample({"film[0]": film[:1], "film[-1]": film[3:], "photo": film[0]})
    assert np.array_equal(both.raw("film")[0, [0, 3]], film[[0, 3]]) and np.array_equal(both.raw("photo")[0], film[0])
    with pytest.raises(ValueError, match="the clip has 2 frames, expected 3"):
        model.sample({"film[0:3]": film[:2]})
    with pytest.raises(ValueError, match="nothing is left to generate"):
        model.sample({"film[0:4]": film, "photo": film[0]})
    turned = model.sample({"film[0:3]": film[:3]}, order=["photo", "film"])
    assert np.array_equal(turned.raw("film")[0, :3], film[:3])


def test_some_frames_are_looked_into(films):
    model, _ = films
    film = clip(4, seed=3)
    some, all_of_it = model.embed({"film[0:2]": film[:2]}), model.embed({"film": film})
    assert some.shape == all_of_it.shape and not torch.equal(some, all_of_it)


def test_a_films_network_knows_the_noise_of_every_frame(films):
    """What is given enters clean: the noise levels that the network is told differ within the film."""
    model, _ = films
    seen = []
    handle = model.denoiser.network.register_forward_pre_hook(lambda m, a: seen.append(a[1].clone()))
    try:
        model.sample({"film[1]": clip(1)})
    finally:
        handle.remove()
    assert seen[0].shape == (1, 5)
    assert (seen[0][0, [0, 2, 3]] > seen[0][0, 1]).all()


def test_films_are_written_and_shown(films, tmp_path):
    model, _ = films
    drawn = model.sample(num=2)
    assert drawn.kind("film") == "film"
    folder = drawn.save(tmp_path / "out")
    with PIL.Image.open(folder / "film_001.gif") as file:
        assert file.n_frames == 4
    assert drawn.html("film")[0].count("data:image/gif;base64,") == 1
    with pytest.raises(ValueError, match="'photo' is no film"):
        drawn.movies("photo")
    colour = Video((12, 12), 3, "RGB")
    movie = colour.movie(colour.encode(clip(3, "RGB")[None]))[0]
    assert PIL.Image.open(io.BytesIO(movie)).format == "WEBP"


def test_given_frames_of_what_is_else_left_out_are_seen(films):
    """The network is told that they are clean and the other frames absent, in sampling as in training."""
    model, _ = films
    seen = []
    handle = model.denoiser.network.register_forward_pre_hook(lambda m, a: seen.append([v.clone() for v in a]))
    try:
        drawn = model.sample({"film[1]": clip(1)}, leave_out=["film"])
    finally:
        handle.remove()
    assert list(drawn) == ["photo"]
    x, level = seen[0]
    assert (level[0, [0, 2, 3]] > level[0, 1]).all() and (x[0, 1] != 0).any() and not x[0, [0, 2, 3]].any()


def test_known_frames_are_clean_and_cost_nothing(films):
    """A perfect guess of what is known, and of nothing else, leaves the loss of all else alone."""
    from jointdiff.loss import Times, noisy

    model, _ = films
    x = torch.randn(6, 5, 12, 12)
    known = torch.zeros(6, 5, dtype=torch.bool)
    known[:, 1:3] = True
    no = torch.zeros(6, 2, dtype=torch.bool)
    for absent in (no, torch.tensor([[True, False]]).expand(6, 2)):
        times = Times(torch.full((6, 2), 2.0), ~absent, absent, torch.zeros(6), known)
        x_t, t = noisy(model.denoiser, x, times, torch.randn_like(x))
        assert torch.equal(x_t[:, 1:3], x[:, 1:3]) and not t[:, 1:3].any()
        assert (t[:, [0, 3]] == (1 if absent.any() else t[0, 4])).all()


def test_the_page_gives_a_film_on_as_it_was(films, tmp_path):
    from jointdiff.page import session

    model, _ = films
    drawn = model.sample(num=2)
    path = session.as_input(drawn, "film", 1, str(tmp_path))
    assert path.endswith(".gif")
    assert np.array_equal(
        model.modalities["film"].decode(session.read_value(model, "film", path))[0], drawn.raw("film")[1]
    )
    with pytest.raises(ValueError, match="upload a file as film"):
        session.read_value(model, "film", None)
