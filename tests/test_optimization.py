"""The optimizers, the rate and the averaged weights."""

import pytest
import torch
from test_training import tiny

from jointdiff.optimization import Average, Muon, optimizers, orthogonal, rate
from jointdiff.trainer import Trainer


def test_average_follows_its_definition():
    net = torch.nn.Linear(2, 2)
    average, want = Average(net, 0.9), net.weight.detach().clone()
    for step in range(30):
        torch.nn.init.normal_(net.weight)
        average.update(net, step)
        decay = min(0.9, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * net.weight.detach()
    assert torch.allclose(average.values["weight"], want, atol=1e-6)


def test_learning_rate_rises_and_falls():
    c = tiny().optim
    c.warmup, c.decay = 10, 0.5
    rates = [rate(s, c, 100) for s in range(100)]
    assert rates[0] == 0.1 and rates[9] == 1 and rates[49] == 1 and rates[-1] == pytest.approx(0.02)
    assert rates[:10] == sorted(rates[:10]) and rates[50:] == sorted(rates[50:], reverse=True)
    assert rate(100, c, 100) == rate(150, c, 100) == 0
    c.decay = 0.0  # then a run may go on for longer than its steps
    assert rate(0, c, 100) == 0.1 and rate(99, c, 100) == rate(150, c, 100) == 1


def test_every_parameter_has_exactly_one_optimizer(tmp_path):
    for name in ("muon", "adamw"):
        c = tiny()
        c.optim.name = name
        network = Trainer(c, tmp_path / name).denoiser.network
        held = [id(p) for o in optimizers(network, c.optim) for g in o.param_groups for p in g["params"]]
        assert sorted(held) == sorted(id(p) for p in network.parameters())
    with pytest.raises(ValueError, match="unknown optimizer"):
        c.optim.name = "sgd"
        optimizers(network, c.optim)


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (6, 6)])
def test_newton_schulz_is_its_polynomial_of_the_singular_values(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, s, right = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    assert torch.allclose(orthogonal(matrix), left @ s.diag() @ right, atol=1e-9)
    assert (s > 0.6).all() and (s < 1.3).all()


def test_muon_in_fp32_is_pytorchs_but_for_bfloat16():
    g, moved = torch.Generator().manual_seed(1), []
    start, gradients = torch.randn(24, 40, generator=g), torch.randn(4, 24, 40, generator=g)
    for kind in (Muon, torch.optim.Muon):
        p = torch.nn.Parameter(start.clone())
        optimizer = kind([p], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for gradient in gradients:
            p.grad = gradient.clone()
            optimizer.step()
        moved.append(p.detach() - start)
        assert set(optimizer.state[p]) == {"momentum_buffer"}  # a checkpoint goes on on either
    assert (moved[0] - moved[1]).norm() < 0.02 * moved[1].norm()


def test_all_matrices_of_a_shape_move_together_as_they_move_alone(monkeypatch):
    g, moved = torch.Generator().manual_seed(2), []
    start = [torch.randn(shape, generator=g) for shape in [(6, 9), (9, 6), (6, 9), (5, 5), (6, 9)]]
    gradients = [[torch.randn(p.shape, generator=g) for p in start] for _ in range(3)]
    for of_a_shape in (False, True):
        if of_a_shape:  # as on a GPU
            groups = lambda params: [
                [p for p in params if p.shape == s] for s in dict.fromkeys(p.shape for p in params)
            ]
            monkeypatch.setattr("jointdiff.optimization.together", groups)
        params = [torch.nn.Parameter(p.clone()) for p in start]
        optimizer = Muon(params, lr=0.01, weight_decay=0.1)
        for step in gradients:
            for p, gradient in zip(params, step):
                p.grad = gradient.clone()
            optimizer.step()
        moved.append([p.detach() - before for p, before in zip(params, start)])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*moved, strict=True)) and moved[0][0].abs().max() > 0.01
