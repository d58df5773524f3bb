import torch
from torch import nn

from jointdiff.denoiser import Denoiser
from jointdiff.layout import Layout
from jointdiff.sde import SDES

LAYOUT = Layout({"a": 2, "b": 1}, (4, 4))
MEAN, STD = torch.tensor([0.5, -0.8]), torch.tensor([0.3, 0.6])


class Probe(nn.Module):
    """Remembers its input and returns a constant."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, levels):
        self.x, self.levels = x, levels
        return torch.full_like(x, self.value)


def data(count, generator):
    z = torch.randn(count, 3, 4, 4, generator=generator)
    return LAYOUT.expand(MEAN[None]) + LAYOUT.expand(STD[None]) * z


def test_the_network_sees_unit_variance_at_every_level(generator):
    for sde in (s() for s in SDES.values()):
        for t in (0.01, 0.3, 0.7, 1.0):
            times = torch.tensor([t, 0.5])[None]
            denoise = Denoiser(Probe(0.0), sde, LAYOUT, MEAN, STD)
            tt = LAYOUT.expand(times).expand(3000, 3, 1, 1)
            x_0 = data(3000, generator)
            x_t = sde.alpha(tt) * x_0 + sde.sigma(tt) * torch.randn(x_0.shape, generator=generator)
            denoise(x_t, tt)
            seen = denoise.network.x
            assert (seen.std(dim=(0, 2, 3)) - 1).abs().max() < 0.03
            assert seen.mean(dim=(0, 2, 3)).abs().max() < 0.03
            want = (sde.ratio(times.double()) / STD).log() / 4
            assert torch.allclose(denoise.network.levels.double(), want.expand(3000, 2), atol=1e-5)


def test_zero_network_is_the_best_linear_denoiser(generator):
    """With F = 0 the estimate is E[x_0 | x_t] of independent Gaussians with the data's mean and standard deviation."""
    for sde in (s() for s in SDES.values()):
        t = LAYOUT.expand(torch.tensor([[0.2, 0.6]])).double()
        x_t = torch.randn(5, 3, 4, 4, generator=generator)
        mean, std = LAYOUT.expand(MEAN[None]), LAYOUT.expand(STD[None])
        a, s = sde.alpha(t).float(), sde.sigma(t).float()
        exact = mean + a * std**2 / (a**2 * std**2 + s**2) * (x_t - a * mean)
        assert torch.allclose(Denoiser(Probe(0.0), sde, LAYOUT, MEAN, STD)(x_t, t), exact, atol=1e-5)


def test_at_time_zero_the_estimate_is_the_input(generator):
    x = data(2, generator)
    for name in ("vp", "subvp"):
        got = Denoiser(Probe(3.0), SDES[name](), LAYOUT, MEAN, STD)(x, torch.zeros((), dtype=torch.float64))
        assert torch.allclose(got, x, atol=1e-6)


def test_autocast_wraps_the_network_alone(generator):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x, levels):
            assert x.dtype == torch.float32
            out = self.layer(x)
            assert out.dtype == torch.bfloat16
            return out

    denoise = Denoiser(Linear(), SDES["vp"](), LAYOUT, MEAN, STD, torch.bfloat16)
    assert denoise(data(2, generator), torch.tensor(0.5)).dtype == torch.float32


def test_scales_of_a_shared_time_are_kept_and_are_those_of_a_time_a_row(generator):
    denoiser = Denoiser(Probe(0.7), SDES["vp"](), LAYOUT, MEAN, STD)
    x = torch.randn(4, 3, 4, 4, generator=generator)
    for t in ([0.3, 0.3, 0.3], [0.3, 0.3, 0.0]):
        t = torch.tensor(t, dtype=torch.float64).view(1, 3, 1, 1)
        by_row = denoiser(x, t.expand(4, 3, 1, 1))
        for _ in range(2):
            assert torch.equal(denoiser(x, t), by_row)
    assert len(denoiser.kept) == 2


def test_what_is_absent_is_blank_and_all_else_is_as_it_was(generator):
    x = torch.randn(3, sum(LAYOUT.channels.values()), *LAYOUT.grid, generator=generator)
    t = torch.rand(3, len(LAYOUT.names), generator=generator, dtype=torch.float64) * 0.9
    t[0, 0] = t[1] = 1.0
    t = LAYOUT.expand(t)
    plain, blank = (Denoiser(Probe(0.5), SDES["vp"](), LAYOUT, MEAN, STD, blank=b) for b in (False, True))
    assert torch.equal(plain(x, t), blank(x, t))  # the rest of the estimate does not depend on it
    gone, noise, shown = (t == 1).expand_as(x), plain.network.x, blank.network.x
    assert (shown[gone] == 0).all() and torch.equal(shown[~gone], noise[~gone]) and gone.any()


def test_numbers_that_some_processors_are_slow_with_are_zero():
    assert not (torch.full((1_000_000,), 1e-30) * 1e-9).any()
