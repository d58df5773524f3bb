import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jointdiff.data.sources import CLASSES
from jointdiff.modalities import Text
from jointdiff.modalities.text import ACCENTS, ALPHABET, parts

TEXT = Text((32, 32))
texts = st.text(st.sampled_from(ALPHABET), max_size=TEXT.capacity).filter(lambda t: not t.endswith(" "))


@settings(deadline=None, max_examples=200)
@given(texts)
def test_round_trip_of_everything_that_fits(text):
    assert TEXT.decode(TEXT.encode([text])) == [text]


@pytest.mark.parametrize("grid,cell", [((16, 16), (5, 8)), ((32, 64), (8, 16)), ((20, 30), (6, 10))])
def test_round_trip_on_other_grids(grid, cell):
    kind = Text(grid, cell)
    lines = [ALPHABET[i : i + kind.capacity].rstrip() for i in range(0, len(ALPHABET), kind.capacity)]
    assert kind.decode(kind.encode(lines)) == lines
    assert kind.encode(lines).shape == (len(lines), 1, *grid)


@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1)])
def test_reading_survives_noise_and_a_shift(shift):
    words = [w for c in CLASSES.values() for w in c] * 10
    x = torch.roll(TEXT.encode(words), shift, (2, 3))
    assert TEXT.decode(x) == words
    noisy = x + 0.4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    read = TEXT.decode(noisy)
    letters = [(a, b) for r, w in zip(read, words) for a, b in zip(r.ljust(15), w.ljust(15))]
    assert sum(a == b for a, b in letters) / len(letters) > 0.99


def test_every_class_of_the_data_fits():
    for words in CLASSES.values():
        TEXT.encode(list(words))
    assert Text((16, 16), (5, 8)).encode(list(CLASSES["digits"])).shape == (10, 1, 16, 16)


@pytest.mark.parametrize(
    "text,message",
    [
        ("sixteen letters!", "16 characters; 15 fit"),
        ("Ümlaut", "'U?Ü'|'Ü'"),
        ("Seven", "'S'"),
        ("seven ", "ends in a space"),
        ("a\nb", r"'\\n'"),
    ],
)
def test_what_does_not_fit_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        TEXT.encode([text])


def test_a_cell_larger_than_the_grid_or_too_small_for_letters_is_refused():
    with pytest.raises(ValueError, match="does not fit a grid 8 wide"):
        Text((8, 8), (9, 9))
    with pytest.raises(ValueError, match="3 x 5"):
        Text((8, 8), (1, 2))
    with pytest.raises(ValueError, match="'a' and 'a' look the same"):
        Text((32, 32), alphabet="aba ")


def test_letters_with_accents_and_capitals():
    letters = "ABÀÉÎŇÕÜÅĀÇàéîňõüåāçZ"
    assert {parts(x)[1] for x in letters} == {*ACCENTS, ""}
    kind = Text((40, 66), (6, 10), ALPHABET + letters)
    lines = [kind.alphabet[i : i + kind.capacity] for i in range(0, len(kind.alphabet), kind.capacity)]
    x = kind.encode(lines)
    assert kind.decode(x) == lines
    assert kind.decode(x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))) == lines
    for letter in "ß漢Ё\x07":
        with pytest.raises(ValueError, match="cannot be drawn"):
            Text((32, 32), alphabet=ALPHABET + letter)


def test_lines_end_where_they_are_told_to():
    kind = Text((32, 32), (5, 8), lines=True)
    texts = ["one", "one\ntwo", "\nthree\n\nfour", "123456\nabcdef\n1\n2"]
    assert kind.decode(kind.encode(texts)) == texts
    for text in ("seven77", "1\n2\n3\n4\n5", "one \ntwo", "one\n"):
        with pytest.raises(ValueError, match="lines of 6 fit|ends in"):
            kind.check(text)


def test_a_text_too_long_for_a_line_is_broken_at_its_spaces():
    text = Text((32, 32), (6, 10), lines=True)
    assert (
        text.read("seven up left") == ["seven\nup\nleft"]
        and text.read("up") == ["up"]
        and text.read("a\nb") == ["a\nb"]
    )
    with pytest.raises(ValueError, match="4 lines, the longest of 5"):
        text.read("seven up left right")
    with pytest.raises(ValueError, match="the longest of 8"):
        text.read("eighteen up")
