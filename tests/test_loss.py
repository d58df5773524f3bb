import itertools

import pytest
import torch
from torch import nn

from jointdiff.analytic import gaussian
from jointdiff.denoiser import Denoiser
from jointdiff.layout import Layout
from jointdiff.loss import PATTERNS, TimePatterns, Times, denoising_loss, noisy
from jointdiff.sde import SDES

LAYOUT = Layout({"a": 1, "b": 2, "c": 1}, (1, 1))
LOG = dict.fromkeys(PATTERNS, (0.3, 1.2))


def draw(name, batch=4000, present=None, modalities=3):
    return TimePatterns({name: 1.0}, LOG).draw(batch, modalities, torch.Generator().manual_seed(3), present)


def test_joint_has_one_time_for_all():
    times = draw("joint")
    assert times.target.all() and not times.absent.any()
    assert torch.equal(times.ratio, times.ratio[:, :1].expand(-1, 3))


def test_independent_has_a_time_each():
    times = draw("independent")
    assert times.target.all()
    assert abs(torch.corrcoef(times.ratio.log().T) - torch.eye(3)).max() < 0.06


def test_conditional_cleans_every_proper_subset_equally():
    times = draw("conditional", 12000)
    clean = times.ratio == 0
    assert torch.equal(times.target, ~clean)
    code = (clean.long() * torch.tensor([1, 2, 4])).sum(1)
    assert torch.allclose(torch.bincount(code, minlength=8)[1:7] / 12000, torch.full((6,), 1 / 6), atol=0.015)
    assert code.min() == 1 and code.max() == 6


def test_absent_has_something_absent_and_something_to_learn():
    times = draw("absent")
    assert times.absent.any(1).all() and times.target.any(1).all()
    assert not (times.absent & times.target).any()
    clean = (times.ratio == 0) & ~times.absent
    assert torch.equal(clean | times.absent, ~times.target)
    assert 0.2 < clean.any(1).float().mean() < 0.5
    noisy_rows = times.target.sum(1) == 2
    both = times.ratio[noisy_rows][times.target[noisy_rows]].view(-1, 2)
    same = both[:, 0] == both[:, 1]
    assert 0.45 < same.float().mean() < 0.55
    assert abs(torch.corrcoef(both[~same].log().T)[0, 1]) < 0.1


def test_probabilities_are_kept():
    times = TimePatterns({"joint": 1, "conditional": 2, "absent": 1}, LOG).draw(
        20000, 3, torch.Generator().manual_seed(0)
    )
    share = torch.bincount(times.pattern, minlength=4) / 20000
    assert torch.allclose(share, torch.tensor([0.25, 0.5, 0.0, 0.25]), atol=0.02)


def test_levels_are_log_normal_and_stratified():
    level = (draw("joint", 1000).ratio[:, 0].log() - 0.3) / 1.2
    cells = (torch.special.ndtr(level) * 1000).floor().sort().values
    assert (cells - torch.arange(1000)).abs().max() <= 1  # one in every thousandth, up to rounding
    within = torch.special.ndtr(level).mul(1000).frac()
    assert within.std().item() == pytest.approx(12**-0.5, rel=0.1)  # and anywhere inside it


def test_what_a_row_lacks_is_absent_in_every_pattern():
    present = torch.tensor([[True, False, True]]).expand(500, 3)
    for name in PATTERNS:
        times = draw(name, 500, present)
        assert times.absent[:, 1].all() and not times.target[:, 1].any()


def test_one_modality_works():
    times = TimePatterns({"conditional": 1.0, "joint": 1.0}, LOG).draw(50, 1, torch.Generator().manual_seed(0))
    assert times.target.all()


def test_absent_channels_carry_no_signal(generator):
    denoiser = Denoiser(nn.Identity(), SDES["vp"](), LAYOUT)
    times = draw("absent", 100)
    eps = torch.randn(100, 4, 1, 1, generator=generator)
    one, t = noisy(denoiser, torch.ones(100, 4, 1, 1), times, eps)
    other, _ = noisy(denoiser, -torch.ones(100, 4, 1, 1), times, eps)
    absent = LAYOUT.expand(times.absent)
    assert torch.equal(one[absent], other[absent]) and (t[absent] == 1).all()
    clean = LAYOUT.expand((times.ratio == 0) & ~times.absent)
    assert (one[clean] == 1).all() and (t[clean] == 0).all()


@pytest.mark.parametrize("sde", [s() for s in SDES.values()], ids=list(SDES))
def test_exact_denoiser_reaches_the_posterior_variance(sde):
    """The loss of E[x_0 | x_t] is the weight times Var[x_0 | x_t], here for correlated Gaussian modalities."""
    cov = torch.tensor(
        [[1.0, 0.5, 0.3, 0.2], [0.5, 1.0, 0.4, 0.1], [0.3, 0.4, 1.0, 0.6], [0.2, 0.1, 0.6, 1.0]], dtype=torch.float64
    )
    joint = gaussian(torch.zeros(4), cov)
    count = 60000
    ratio = torch.tensor([[0.7, 1.5, 0.4]]).expand(count, 3)
    none = torch.zeros(count, 3, dtype=torch.bool)
    times = Times(ratio, ~none, none, torch.zeros(count))
    denoiser = Denoiser(nn.Identity(), sde, LAYOUT)
    exact = joint.denoiser(sde)

    class Ideal(nn.Module):  # the output F that makes the denoiser exact
        def forward(self, scaled, levels):
            r = LAYOUT.expand(ratio)
            y = scaled * (1 + r**2).sqrt()
            t = LAYOUT.expand(sde.time(ratio[:1].double()))
            return ((exact(sde.alpha(t) * y.double(), t) - y / (1 + r**2)) * (1 + r**2).sqrt() / r).float()

    denoiser.network = Ideal()
    g = torch.Generator().manual_seed(0)
    x_0, eps = joint.sample(count, g).float(), torch.randn(count, 4, 1, 1, generator=g)
    loss = denoising_loss(denoiser, x_0, times, eps).mean(0)
    r = LAYOUT.expand(ratio[:1]).flatten().double()
    posterior = torch.linalg.inv(torch.linalg.inv(cov) + torch.diag(1 / r**2)).diagonal()
    want = posterior * (1 + r**2) / r**2
    want = torch.stack([want[0], want[1:3].mean(), want[3]])
    assert torch.allclose(loss.double(), want, rtol=0.02)


def test_loss_is_averaged_inside_a_modality_first(generator):
    """Two modalities with the same error have the same loss, whatever their numbers of channels."""
    layout = Layout({"grey": 1, "colour": 3}, (4, 4))

    class One(nn.Module):
        def forward(self, x, levels):
            return torch.ones_like(x)

    denoiser = Denoiser(One(), SDES["vp"](), layout)
    none = torch.zeros(8, 2, dtype=torch.bool)
    times = Times(torch.full((8, 2), 1e4), ~none, none, torch.zeros(8))
    loss = denoising_loss(denoiser, torch.zeros(8, 4, 4, 4), times, torch.randn(8, 4, 4, 4, generator=generator))
    assert loss.shape == (8, 2) and torch.allclose(loss[:, 0], loss[:, 1], rtol=0.05)


def test_bad_patterns_are_refused():
    with pytest.raises(ValueError, match="unknown time pattern 'mixed'; there are joint, conditional"):
        TimePatterns({"mixed": 1.0}, LOG)
    with pytest.raises(ValueError, match="not all 0"):
        TimePatterns({"joint": 0.0}, LOG)
    with pytest.raises(ValueError, match="no log_ratio"):
        TimePatterns({"joint": 1.0}, {})


def test_what_is_given_is_drawn_by_size_and_by_weight():
    given = {frozenset([1]): 3.0, frozenset([0, 2]): 5.0}
    patterns = TimePatterns({"conditional": 1.0}, LOG, given)
    clean = patterns.draw(30000, 4, torch.Generator().manual_seed(0)).ratio == 0
    size = clean.sum(1)
    assert torch.allclose(torch.bincount(size, minlength=5) / 30000, torch.tensor([0, 6, 3, 2, 0]) / 11, atol=0.01)
    single = clean[size == 1].float().mean(0)
    assert torch.allclose(single, torch.tensor([1.0, 3.0, 1.0, 1.0]) / 6, atol=0.02)
    pairs = clean[size == 2]
    assert (pairs[:, 0] & pairs[:, 2]).float().mean().item() == pytest.approx(5 / 10, abs=0.02)
    assert torch.allclose(clean[size == 3].float().mean(0), torch.full((4,), 3 / 4), atol=0.02)


def test_half_of_what_has_something_absent_gives_such_a_set():
    """Here one modality alone, always the second: the others are absent or noisy, one of each at least."""
    given = {frozenset(s): 0.0 for k in (1, 2, 3) for s in itertools.combinations(range(4), k)} | {frozenset([1]): 1.0}
    times = TimePatterns({"absent": 1.0}, LOG, given).draw(20000, 4, torch.Generator().manual_seed(0))
    clean = (times.ratio == 0) & ~times.absent
    assert times.absent.any(1).all() and times.target.any(1).all()
    alone = clean[:, 1] & (clean.sum(1) == 1)
    # of the others, as often as without: the second is clean and not forced to be something else, and no other is
    free = TimePatterns({"absent": 1.0}, LOG).draw(20000, 4, torch.Generator().manual_seed(0))
    free_clean = (free.ratio == 0) & ~free.absent
    without = (free_clean[:, 1] & (free_clean.sum(1) == 1)).float().mean()
    assert alone.float().mean().item() == pytest.approx(0.5 + 0.5 * float(without), abs=0.01)
    assert torch.allclose(times.absent[alone].float().mean(0)[[0, 2, 3]], torch.full((3,), 0.5), atol=0.02)
