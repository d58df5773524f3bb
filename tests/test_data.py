import numpy as np
import PIL.Image
import pytest
import torch
from scipy.io import wavfile

from jointdiff.data import SOURCES, Items, Pairs, encode_source
from jointdiff.data.sources import DIGITS
from jointdiff.data.tones import COLUMNS, ROWS, dtmf
from jointdiff.modalities import Image


def numbered(count, classes=10):
    """Items whose pixel is their own number."""
    values = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1)
    return values, np.arange(count) % classes


def pairs(seed=0):
    (a, la), (b, lb) = numbered(60), numbered(30)
    return Pairs(
        {"a": a, "b": b, "c": torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)},
        {"a": la, "b": lb, "c": np.arange(10)},
        seed,
    )


def ids(values):
    return ((values + 1) * 127.5).round().long().flatten()


def test_rows_share_the_class():
    values, present, labels, _ = pairs().rows(0, 200)
    assert present.all()
    for part in values.values():
        assert torch.equal(ids(part) % 10, labels)


def test_shuffled_partners_are_of_any_class_evenly():
    p = pairs()
    shuffled = Pairs(p.values, p.labels, 0, shuffled=True)
    values, present, labels, _ = shuffled.rows(0, 6000)
    assert present.all() and torch.equal(ids(values["a"]) % 10, labels)
    assert sorted(ids(values["a"][:60]).tolist()) == list(range(60))
    for name, items, spread in (("b", 30, 60), ("c", 10, 120)):
        counts = torch.bincount(ids(values[name]), minlength=items)
        assert (counts - 6000 / items).abs().max() < spread
        assert abs(float((ids(values[name]) % 10 == labels).float().mean()) - 0.1) < 0.02


def test_an_epoch_visits_every_item_of_the_largest_once():
    values = pairs().rows(60, 60).values
    assert sorted(ids(values["a"]).tolist()) == list(range(60))


def test_partners_are_drawn_anew_and_evenly():
    p = pairs()
    first, second = ids(p.rows(0, 60)[0]["b"]), ids(p.rows(60, 60)[0]["b"])
    assert not torch.equal(first, second)
    counts = torch.bincount(ids(p.rows(0, 6000)[0]["b"]), minlength=30)
    assert counts.min() > 140 and counts.max() < 260  # 200 each


def test_a_row_depends_on_its_number_alone():
    p, q = pairs(), pairs()
    whole = p.rows(0, 150)
    q.rows(500, 10)
    parts = [q.rows(s, 50) for s in (100, 0, 50)]
    order = [parts[1], parts[2], parts[0]]
    for name in ("a", "b", "c"):
        assert torch.equal(whole[0][name], torch.cat([v[0][name] for v in order]))
    assert not torch.equal(ids(pairs(1).rows(0, 60)[0]["a"]), ids(p.rows(0, 60)[0]["a"]))


def test_a_class_without_items_is_missing_there():
    (a, la), (b, lb) = numbered(40, 10), numbered(5, 5)
    values, present, labels, _ = Pairs({"a": a, "b": b}, {"a": la, "b": lb}).rows(0, 80)
    assert torch.equal(present[:, 1], labels < 5) and present[:, 0].all()
    assert values["b"][~present[:, 1]].abs().sum() == 0


def test_handwritten_splits_are_disjoint_and_whole():
    from sklearn.datasets import load_digits

    train, test = (SOURCES["handwritten"](None, s) for s in ("train", "test"))
    assert len(train.labels) == 1497 and len(test.labels) == 300
    both = np.concatenate([train.raw, test.raw])
    want = (load_digits().images / 16 * 255).round().astype(np.uint8)
    assert sorted(map(bytes, both)) == sorted(map(bytes, want))
    many = SOURCES["handwritten"](None, "train", variants=3)
    assert len(many.labels) == 3 * 1497 and np.array_equal(many.raw[:1497], train.raw)
    assert np.array_equal(many.labels[1497:2994], train.labels) and not np.array_equal(many.raw[1497:2994], train.raw)


def test_every_key_tone_has_the_frequencies_of_q23():
    keys = {
        1: (697, 1209),
        2: (697, 1336),
        3: (697, 1477),
        4: (770, 1209),
        5: (770, 1336),
        6: (770, 1477),
        7: (852, 1209),
        8: (852, 1336),
        9: (852, 1477),
        0: (941, 1336),
    }
    items = dtmf(None, "train", count=6)
    for wave, label in zip(items.raw, items.labels):
        spectrum = np.abs(np.fft.rfft(wave, 16000))
        low = 600 + spectrum[1200:2100].argmax() / 2
        high = 1100 + spectrum[2200:3200].argmax() / 2
        assert abs(low / keys[label][0] - 1) < 0.02 and abs(high / keys[label][1] - 1) < 0.02
        assert np.abs(wave).max() < 1
    assert ROWS == (697, 770, 852, 941) and COLUMNS == (1209, 1336, 1477)
    other = dtmf(None, "test", count=6)
    assert not any(np.array_equal(a, b) for a in items.raw for b in other.raw)


def test_words_are_the_classes_names():
    assert SOURCES["words"](None, "test").raw == list(DIGITS)
    assert SOURCES["words"](None, "train", classes="cifar10").raw[9] == "truck"
    with pytest.raises(ValueError, match="digits, cifar10"):
        SOURCES["words"](None, "train", classes="imagenet")


def write_speech(root, takes=50):
    folder = root / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    from jointdiff.data.speech import SPEAKERS

    for digit in range(10):
        for speaker in SPEAKERS:
            for take in range(takes):
                wave = np.zeros(3000)
                wave[800:2000] = 3000 * np.sin(np.arange(1200) * (0.1 + 0.05 * digit)) + rng.standard_normal(1200)
                wavfile.write(folder / f"{digit}_{speaker}_{take}.wav", 8000, wave.astype(np.int16))


def test_spoken_digits_are_split_by_take_and_trimmed(tmp_path):
    write_speech(tmp_path)
    train, test = (SOURCES["spoken_digits"](tmp_path, s) for s in ("train", "test"))
    assert len(train.labels) == 2700 and len(test.labels) == 300
    assert np.bincount(test.labels).tolist() == [30] * 10
    assert all(1200 <= len(w) <= 1800 for w in test.raw)
    many = SOURCES["spoken_digits"](tmp_path, "train", variants=2)
    assert len(many.labels) == 5400 and np.array_equal(many.raw[0], train.raw[0])


@pytest.mark.parametrize(
    "name,wanted",
    [
        ("mnist", "MNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("spoken_digits", "0_george_0.wav"),
    ],
)
def test_offline_the_error_says_what_is_wanted_and_where(name, wanted, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(FileNotFoundError) as error:
        SOURCES[name](tmp_path, "train")
    assert wanted in str(error.value) and str(tmp_path) in str(error.value) and "JOINTDIFF_DATA" in str(error.value)


def test_spoken_digits_are_downloaded_and_checked(tmp_path, monkeypatch):
    import io
    import zipfile

    write_speech(tmp_path / "there")
    recordings = tmp_path / "there" / "free-spoken-digit-dataset" / "recordings"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in recordings.iterdir():
            archive.write(path, f"free-spoken-digit-dataset-1.0.10/recordings/{path.name}")
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: io.BytesIO(packed.getvalue()))
    assert len(SOURCES["spoken_digits"](tmp_path / "here", "test").labels) == 300
    broken = packed.getvalue()[: len(packed.getvalue()) // 2]
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: io.BytesIO(broken))
    with pytest.raises(FileNotFoundError, match="download failed"):
        SOURCES["spoken_digits"](tmp_path / "broken", "test")
    assert not (tmp_path / "broken").exists()


def test_encoding_is_exact_for_pictures():
    items = SOURCES["handwritten"](None, "test")
    values = torch.cat(list(encode_source(Image((8, 8)), items)))
    assert values.dtype == torch.uint8 and np.array_equal(values[:, 0].numpy(), items.raw)


def test_half_of_the_rows_are_mirrored_together_and_the_rest_is_as_without():
    labels = {"a": np.arange(40) % 4, "b": np.arange(40) % 4}
    values = {n: torch.arange(40 * 6, dtype=torch.float32).view(40, 1, 2, 3) for n in labels}
    plain, turned = Pairs(values, labels, 5), Pairs(values, labels, 5)
    turned.mirrored = ("a", "b")
    one, two = plain.rows(30, 400), turned.rows(30, 400)
    assert all(torch.equal(one.index[n], two.index[n]) for n in labels)
    flipped = {n: (two.values[n] != one.values[n]).flatten(1).any(1) for n in labels}
    assert torch.equal(flipped["a"], flipped["b"]) and 0.4 < flipped["a"].float().mean() < 0.6
    for n in labels:
        assert torch.equal(two.values[n][flipped[n]], one.values[n][flipped[n]].flip(3))
    parts = [turned.rows(s, 200) for s in (230, 30)]
    assert torch.equal(torch.cat([parts[1].values["a"], parts[0].values["a"]]), two.values["a"])


def test_some_of_what_rows_have_is_missing_and_never_all():
    data, share = pairs(4), 0.4
    whole = data.rows(0, 3000)
    data.missing = share
    rows = data.rows(0, 3000)
    assert rows.present.any(1).all()
    # of three each is kept unless its own draw is below the share, but for the highest of three that all are
    kept = (1 - share) + share**3 / 3
    assert all(abs(rows.present[:, i].float().mean() - kept) < 0.04 for i in range(3))
    for i, name in enumerate(rows.values):
        there = rows.present[:, i]
        assert (
            torch.equal(rows.values[name][there], whole.values[name][there]) and (rows.values[name][~there] == 0).all()
        )
        assert torch.equal(rows.index[name], torch.where(there, whole.index[name], -1))
    again = data.rows(1000, 50)
    assert torch.equal(again.present, rows.present[1000:1050]) and torch.equal(
        again.index["a"], rows.index["a"][1000:1050]
    )


def write_backgrounds(root, views=5, side=36):
    folder = root / "polymnist_backgrounds"
    folder.mkdir(parents=True)
    for i in range(views):
        colours = np.random.default_rng(i).integers(0, 256, (side + 4 * (side < 64), side, 3), dtype=np.uint8)
        PIL.Image.fromarray(colours).save(folder / f"{i}.png")


def test_views_are_digits_inverted_on_crops_of_their_background(tmp_path, monkeypatch):
    """Inverted back inside of the digit, an item is a crop of its view's picture, the same every time and another for each item."""
    digits = np.random.default_rng(9).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    monkeypatch.setitem(SOURCES, "mnist", lambda root, split: Items(digits, np.arange(30) % 10))
    write_backgrounds(tmp_path)
    for view in (0, 3):
        items = SOURCES["polymnist"](tmp_path, "train", view)
        assert items.raw.shape == (30, 28, 28, 3) and np.array_equal(items.labels, np.arange(30) % 10)
        picture = np.asarray(PIL.Image.open(tmp_path / "polymnist_backgrounds" / f"{view}.png"))
        places = set()
        for item, digit in zip(items.raw, digits):
            crop = np.where(digit[:, :, None] > 128, 255 - item, item)
            found = [
                (y, x) for y in range(13) for x in range(9) if np.array_equal(crop, picture[y : y + 28, x : x + 28])
            ]
            places.update(found)
            assert len(found) == 1
        assert len(places) > 15
        assert np.array_equal(items.raw, SOURCES["polymnist"](tmp_path, "train", view).raw)
        assert not np.array_equal(items.raw, SOURCES["polymnist"](tmp_path, "test", view).raw)
    with pytest.raises(FileNotFoundError, match="view 5 wants picture number 6 .* has 5. Put pictures there"):
        SOURCES["polymnist"](tmp_path, "train", 5)
    PIL.Image.new("RGB", (20, 60)).save(tmp_path / "polymnist_backgrounds" / "5.png")
    with pytest.raises(ValueError, match="20 x 60, smaller than a crop of 28"):
        SOURCES["polymnist"](tmp_path, "train", 5)
