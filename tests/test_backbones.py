import itertools

import pytest
import torch

from jointdiff.backbones import BACKBONES, UNet


def streams(channels, modalities):
    """Channels and noise levels of modalities, the first of which has the channels that are left over; of too few, one film."""
    if channels < modalities:
        return ((slice(0, channels), slice(0, modalities)),)
    ends = [channels - modalities + i for i in range(1, modalities + 1)]
    return tuple((slice(e - 1 if i else 0, e), slice(i, i + 1)) for i, e in enumerate(ends))


def small(name, channels, modalities, grid):
    options = {
        "unet": {"widths": (8, 16), "blocks": (1, 1), "attention": (False, True), "heads": 2},
        "tokens": {"grid": grid, "streams": streams(channels, modalities), "width": 16, "depth": 2, "heads": 2, "patch": 2},
        "late": {"grid": grid, "streams": streams(channels, modalities), "widths": (8, 16), "blocks": (1, 1),
                 "meeting": (False, True), "heads": 2},
        "mlp": {"grid": grid, "width": 16},
    }[name]  # fmt: skip
    torch.manual_seed(0)
    net = BACKBONES[name](channels, modalities, **options)
    for p in net.parameters():  # outputs start at 0: wake them
        torch.nn.init.normal_(p, std=0.2)
    return net.eval()


@pytest.mark.parametrize(
    "name,channels,modalities,grid", list(itertools.product(BACKBONES, (1, 4), (1, 3), ((8, 8), (6, 10), (5, 7))))
)
def test_any_channels_modalities_and_grid(name, channels, modalities, grid, generator):
    net = small(name, channels, modalities, grid)
    x, levels = torch.randn(3, channels, *grid, generator=generator), torch.randn(3, modalities, generator=generator)
    y = net(x, levels)
    assert y.shape == x.shape and y.isfinite().all()
    assert torch.allclose(net(x[1:2], levels[1:2]), y[1:2], atol=1e-4)  # rows do not mix


@pytest.mark.parametrize("name", BACKBONES)
def test_every_level_and_every_channel_reaches_every_output(name, generator):
    net = small(name, 3, 2, (8, 8))
    x = torch.randn(1, 3, 8, 8, generator=generator)
    levels = torch.zeros(1, 2)
    base = net(x, levels)
    for m in range(2):
        moved = levels.clone()
        moved[0, m] = 0.5
        assert ((net(x, moved) - base).abs().amax((0, 2, 3)) > 1e-4).all()
    for c in range(3):
        moved = x.clone()
        moved[0, c, 0, 0] += 1.0
        assert ((net(moved, levels) - base).abs().amax((0, 2, 3)) > 1e-5).all()
        assert (net(moved, levels) - base)[0, :, 7, 7].abs().max() > 1e-6  # also far away


@pytest.mark.parametrize("name", BACKBONES)
def test_it_learns_a_function_of_the_level(name, generator):
    """Regression to x times the level: only possible when levels modulate the signal."""
    torch.manual_seed(0)
    options = {
        "unet": {"widths": (16, 32), "blocks": (1, 1), "attention": (False, False)},
        "tokens": {"grid": (4, 4), "streams": streams(2, 1), "width": 32, "depth": 2, "patch": 2},
        "late": {
            "grid": (4, 4),
            "streams": streams(2, 1),
            "widths": (16, 32),
            "blocks": (1, 1),
            "meeting": (False, False),
        },
        "mlp": {"grid": (4, 4), "width": 64},
    }[name]
    net = BACKBONES[name](2, 1, **options)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(300):
        x, level = torch.randn(64, 2, 4, 4, generator=generator), torch.rand(64, 1, generator=generator) * 2 - 1
        loss = (net(x, level) - x * level[:, :, None, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.12  # predicting 0 costs 0.33


def test_the_unet_starts_at_zero(generator):
    y = UNet(2, 1, widths=(8, 16), blocks=(1, 1), attention=(False, True))(
        torch.randn(1, 2, 8, 8, generator=generator), torch.zeros(1, 1)
    )
    assert (y == 0).all()


@pytest.mark.parametrize("name", ["tokens", "late"])
def test_modalities_meet_only_where_they_should(name, generator):
    """Without their meetings streams are networks of their own; with them, each reaches every other."""
    net, x, levels = small(name, 4, 3, (8, 8)), torch.randn(2, 4, 8, 8, generator=generator), torch.zeros(2, 3)

    def reached():
        moved = x.clone()
        moved[:, 2] += 1  # the second of three modalities, of 2, 1 and 1 channels
        return ((net(moved, levels) - net(x, levels)).abs().amax((0, 2, 3)) > 1e-5).tolist()

    assert reached() == [True] * 4
    if name == "late":
        for module in net.modules():
            if hasattr(module, "place"):
                for out in module.out:
                    torch.nn.init.zeros_(out.weight)
        torch.nn.init.zeros_(net.context.weight)
    else:
        for layer in net.layers:
            torch.nn.init.zeros_(layer.out.weight)
    assert reached() == [False, False, True, False]


@pytest.mark.parametrize("grid", [(8, 8), (6, 10)])
def test_what_is_only_looked_at_is_what_the_way_up_is_told(grid, generator):
    net, seen = small("unet", 3, 2, grid), []
    net.context.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    x, levels = torch.randn(4, 3, *grid, generator=generator), torch.randn(4, 2, generator=generator)
    net(x, levels)
    assert torch.equal(net.look(x, levels), seen[0]) and len(seen) == 1


def test_mismatched_levels_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 2 levels"):
        BACKBONES["late"](1, 1, (8, 8), streams(1, 1), widths=(8, 16), blocks=(1,), meeting=(False, False))
    for name, width in (
        ("tokens", {"width": 16}),
        ("late", {"widths": (8, 16), "blocks": (1, 1), "meeting": (False, True)}),
    ):
        with pytest.raises(ValueError, match="3 attention heads do not divide"):
            BACKBONES[name](1, 1, (8, 8), streams(1, 1), heads=3, **width)
    with pytest.raises(ValueError, match="2, 1 and 2 levels"):
        UNet(1, 1, widths=(8, 16), blocks=(1,), attention=(False, False))
    with pytest.raises(ValueError, match="3 attention heads do not divide"):
        UNet(1, 1, widths=(8, 16), blocks=(1, 1), attention=(False, True), heads=3)


def of_frames(frame_width=8):
    """A U-Net over a picture of one channel and a film of four frames of two; every weight awake, no frame with a place."""
    torch.manual_seed(0)
    streams = ((slice(0, 1), slice(0, 1)), (slice(1, 9), slice(1, 5)))
    net = UNet(9, 5, (8, 16), (1, 1), (False, True), heads=2, frame_width=frame_width, streams=streams)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    for frames in net.frames:
        torch.nn.init.zeros_(frames.place)
    return net.eval()


def test_frames_share_their_weights(generator):
    """What does not pass through the network around treats every frame alike, and none sees another."""
    frames = of_frames().frames[0]
    for p in frames.leave.parameters():
        torch.nn.init.zeros_(p)
    film, levels = torch.randn(2, 8, 8, 8, generator=generator), torch.randn(2, 4, generator=generator)
    emb, trunk = torch.randn(2, 1, 16, generator=generator), torch.zeros(2, 16, 2, 2)

    def alone(film, levels):
        own = emb + frames.own(levels)
        return frames.write(trunk, frames.read(film, own)[0], own)

    out, order = alone(film, levels), torch.tensor([2, 0, 3, 1])
    mixed = alone(film.unflatten(1, (4, 2))[:, order].flatten(1, 2), levels[:, order])
    assert torch.allclose(mixed.unflatten(1, (4, 2)), out.unflatten(1, (4, 2))[:, order], atol=1e-5)
    film[:, 2:4] += 1
    changed = (alone(film, levels) - out).unflatten(1, (4, 2)).abs().amax((0, 2, 3, 4)) > 1e-4
    assert changed.tolist() == [False, True, False, False]


def test_frames_and_the_rest_reach_each_other(generator):
    net = of_frames()
    x, levels = torch.randn(2, 9, 16, 16, generator=generator), torch.zeros(2, 5)
    base = net(x, levels)
    for channel in (0, 4):  # the picture, a frame
        moved = x.clone()
        moved[:, channel, 3, 3] += 1
        assert ((net(moved, levels) - base).abs().amax((0, 2, 3)) > 1e-5).all()
    for part in range(5):
        moved = levels.clone()
        moved[:, part] = 0.5
        assert ((net(x, moved) - base).abs().amax((0, 2, 3)) > 1e-5).all()
    odd = net(x[..., :13, :15], levels)
    assert odd.shape == (2, 9, 13, 15) and torch.allclose(net(x[1:], levels[1:]), base[1:], atol=1e-4)
    assert not of_frames(0).frames and sum(p.numel() for p in of_frames(0).parameters()) < sum(
        p.numel() for p in net.parameters()
    )


def test_a_level_that_frames_do_not_have_is_refused():
    with pytest.raises(ValueError, match="frame_level 2 is none of the 2 levels, 0 to 1"):
        UNet(4, 4, (8, 16), (1, 1), (False, False), frame_width=8, frame_level=2, streams=((slice(0, 4), slice(0, 4)),))
