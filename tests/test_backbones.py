import itertools

import pytest
import torch

from jointdiff.backbones import BACKBONES, UNet


def small(name, channels, modalities, grid):
    options = {
        "unet": {"widths": (8, 16), "blocks": (1, 1), "attention": (False, True), "heads": 2},
        "mlp": {"grid": grid, "width": 16},
    }[name]
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


def test_mismatched_levels_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 2 levels"):
        UNet(1, 1, widths=(8, 16), blocks=(1,), attention=(False, False))
    with pytest.raises(ValueError, match="3 attention heads do not divide"):
        UNet(1, 1, widths=(8, 16), blocks=(1, 1), attention=(False, True), heads=3)
