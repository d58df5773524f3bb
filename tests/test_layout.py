import pytest
import torch

from jointdiff.layout import Layout

LAYOUT = Layout({"image": 3, "text": 1, "audio": 4}, (6, 8))


def test_pack_and_unpack_are_inverse(generator):
    parts = {n: torch.randn(2, c, 6, 8, generator=generator) for n, c in LAYOUT.channels.items()}
    x = LAYOUT.pack(dict(reversed(parts.items())))
    assert x.shape == (2, 8, 6, 8)
    assert torch.equal(x[:, 3:4], parts["text"])
    assert all(torch.equal(v, parts[n]) for n, v in LAYOUT.unpack(x).items())


def test_mask_expand_and_observe(generator):
    assert LAYOUT.mask(["text", "audio"]).flatten().tolist() == [False] * 3 + [True] * 5
    values = torch.tensor([[1.0, 2.0, 3.0]])
    assert LAYOUT.expand(values).flatten().tolist() == [1, 1, 1, 2, 3, 3, 3, 3]
    word = torch.randn(1, 1, 6, 8, generator=generator)
    y, mask = LAYOUT.observe({"text": word}, 5)
    assert torch.equal(y[:, 3:4], word.expand(5, 1, 6, 8)) and mask.sum() == 1 and y[:, :3].abs().sum() == 0


def test_errors_name_the_choices():
    with pytest.raises(ValueError, match="'sound'.*image, text, audio"):
        LAYOUT.mask(["sound"])
    with pytest.raises(ValueError, match="missing: text, audio"):
        LAYOUT.pack({"image": torch.zeros(1, 3, 6, 8)})
    with pytest.raises(ValueError, match=r"'image' has shape \(1, 1, 6, 8\), expected \(B, 3, 6, 8\)"):
        LAYOUT.pack(
            {"image": torch.zeros(1, 1, 6, 8), "text": torch.zeros(1, 1, 6, 8), "audio": torch.zeros(1, 4, 6, 8)}
        )
    with pytest.raises(ValueError):
        Layout({}, (4, 4))


def test_a_scaled_modality_is_larger_inside_and_itself_outside():
    layout = Layout({"a": 1, "b": 2}, (2, 2), {"b": 3.0})
    parts = {"a": torch.rand(4, 1, 2, 2), "b": torch.rand(4, 2, 2, 2)}
    x = layout.pack(parts)
    assert torch.equal(x[:, :1], parts["a"]) and torch.equal(x[:, 1:], 3 * parts["b"])
    assert torch.allclose(layout.unpack(x)["b"], parts["b"])
    assert torch.equal(layout.observe({"b": parts["b"]}, 4)[0][:, 1:], 3 * parts["b"])
    assert repr(layout) == "Layout(a: 1, b: 2 x 3; 2 x 2)"


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_is_a_number_above_0(scale):
    with pytest.raises(ValueError, match="'b' has a scale of"):
        Layout({"a": 1, "b": 2}, (2, 2), {"b": scale})


def test_streams_are_the_channels_and_parts_of_each_modality():
    layout = Layout({"a": 1, "film": 6, "b": 2}, (4, 4), parts={"film": 3})
    assert layout.streams() == (
        (slice(0, 1), slice(0, 1)),
        (slice(1, 7), slice(1, 4)),
        (slice(7, 9), slice(4, 5)),
    )
