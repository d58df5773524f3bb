"""A modality more for a trained model: the old function to the bit, and an elder that holds it there."""

import pytest
import torch
from test_training import equal, tiny, train

from jointdiff import build, hub, state
from jointdiff import config as cfg
from jointdiff.data import Pairs
from jointdiff.grow import Elder, Replay, take_over
from jointdiff.loss import PATTERNS, TimePatterns, denoising_loss
from jointdiff.trainer import Trainer


def grown(**more):
    """A config with the tiny one's modalities, in another order, and one more between them."""
    c = tiny(**more)
    first, *others = c.data.modalities
    c.modality.word = cfg.modality("text", "words", {"cell": (5, 8)})
    c.data.modalities = (*others, "word", first)
    c.data.grid = (16, 16)
    return c


def small(**more):
    c = tiny(**more)
    c.data.grid = (16, 16)
    return c


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    train(small(steps=3), folder)
    return folder


def test_a_grown_network_is_the_old_one_until_it_learns(old, tmp_path):
    before = hub.load(old, precision="fp32").denoiser
    trainer = Trainer(grown(init=str(old), precision="fp32"), tmp_path)
    after, layout = trainer.denoiser.eval(), trainer.layout
    values = {n: torch.randn(4, c, 16, 16) for n, c in layout.channels.items()}
    ratio = {n: 10 ** torch.empty(4).uniform_(-1, 1) for n in layout.names}

    def estimates(denoiser):
        names = denoiser.layout.names
        t = denoiser.layout.expand(denoiser.sde.time(torch.stack([ratio[n] for n in names], 1).double()))
        with torch.no_grad():
            return denoiser.layout.unpack(denoiser(denoiser.layout.pack({n: values[n] for n in names}), t))

    first, second = estimates(before), estimates(after)
    assert set(second) - set(first) == {"word"}
    for name in first:
        assert torch.allclose(first[name], second[name], atol=1e-6)
    d = after
    t = d.layout.expand(d.sde.time(torch.stack([ratio[n] for n in layout.names], 1).double()))
    assert not d.residual(d.layout.pack(values), d.scales(t))[:, layout.slices["word"]].any()  # what is new is silent


def test_an_elder_is_content_with_itself_at_every_noise_level(old, tmp_path):
    """In the rows that the old model drew the grown network has nothing to learn; in others it has."""
    trainer = Trainer(grown(init=str(old), precision="fp32"), tmp_path)
    layout = trainer.layout
    elder = Elder(hub.load(old, precision="fp32").denoiser, layout)
    x = torch.randn(40, *layout.shape)
    present = torch.tensor([[n != "word" for n in layout.names]]).expand(40, -1)
    draw = TimePatterns(dict.fromkeys(PATTERNS, 1.0), dict.fromkeys(PATTERNS, (1.0, 1.6))).draw
    times = draw(40, len(layout.names), torch.Generator().manual_seed(0), present)
    taught = torch.arange(40) % 2 == 0
    aim = lambda x_t, t, x_0: elder(x_t, t, x_0, taught)
    with torch.no_grad():
        loss = denoising_loss(trainer.denoiser.eval(), x, times, torch.randn_like(x), aim)
    assert loss[taught].abs().max() < 1e-6 < loss[~taught][times.target[~taught]].min()


def test_replayed_rows_are_the_old_models_and_come_as_often_as_asked(old, tmp_path):
    c = grown()
    modalities = build.modalities(c)
    data = build.data(c, modalities, "train")
    model = hub.load(old)
    replay = Replay(data, model, 0.3, 7, tmp_path / "replay.pt", 0)
    which = replay.replayed(0, 1000)
    assert which.sum() == 300 and torch.equal(which[100:350], replay.replayed(100, 250))
    rows, plain = replay.rows(100, 50), data.rows(100, 50)
    here = replay.replayed(100, 50)
    names = list(modalities)
    drawn = model.sample(num=7, seed=1)
    for column, name in enumerate(names):
        assert torch.equal(rows.values[name][~here], plain.values[name][~here])
        assert rows.present[here, column].all() == (name != "word") and (rows.index[name][here] == -1).all()
        for value in rows.values[name][here]:
            known = name in drawn and any(torch.allclose(value, v.clamp(-1, 1), atol=1e-3) for v in drawn[name])
            assert known or name == "word" and not value.any()
    again = Replay(data, None, 0.3, 7, tmp_path / "replay.pt", 0)  # kept in the run's folder: not drawn again
    assert torch.equal(again.rows(0, 9).values[names[0]], replay.rows(0, 9).values[names[0]])


def test_a_run_with_replay_resumes_to_the_bit(old, tmp_path):
    c = grown(steps=4, init=str(old))
    c.train.replay.share, c.train.replay.rows = 0.5, 6
    whole = train(c, tmp_path / "whole")
    stopped = Trainer(c, tmp_path / "stopped")
    stopped.update()
    stopped.save()
    resumed = train(c, tmp_path / "stopped")
    assert equal(whole["network"], resumed["network"]) and equal(whole["ema"], resumed["ema"])
    plain = cfg.changed(c, {"train.replay.teacher": False})
    assert not equal(train(plain, tmp_path / "plain")["network"], whole["network"])


def test_an_elder_holds_what_was_known(old, tmp_path):
    """After many steps on rows of one class alone, with a high rate, the old estimates are nearer to what they were."""
    model = hub.load(old, precision="fp32")
    x = torch.randn(64, *model.layout.shape)
    t = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    with torch.no_grad():
        before = model.denoiser(x, t)
    moved = {}
    for share in (0.0, 0.5):
        c = small(steps=30, init=str(old), precision="fp32")
        c.optim.lr, c.optim.matrix_lr, c.optim.warmup = 3e-3, 1e-2, 1
        c.data.per_class, c.train.replay.share, c.train.replay.rows, c.train.ema = 1, share, 16, 0.0
        train(c, tmp_path / str(share))
        with torch.no_grad():
            moved[share] = float(
                (hub.load(tmp_path / str(share), precision="fp32").denoiser(x, t) - before).square().mean()
            )
    assert moved[0.5] < 0.5 * moved[0.0]


def test_few_items_a_class_are_the_first_ones():
    c = small()
    modalities = build.modalities(c)
    whole = build.data(c, modalities, "train")
    few = build.data(cfg.changed(c, {"data.per_class": 2}), modalities, "train")
    assert isinstance(few, Pairs)
    for name in modalities:
        for k in range(10):
            all_of, mine = (d.values[name][(d.labels[name] == k).nonzero()[:, 0]] for d in (whole, few))
            assert len(mine) == min(2, len(all_of)) and torch.equal(mine, all_of[:2])
    for field, value in (("per_class", 2), ("shuffled", True)):
        with pytest.raises(ValueError, match=f"{field} is for sources that are paired by class"):
            build.data(cfg.changed(c, {f"data.{field}": value, "data.scene.name": "sums"}), modalities, "train")
    control = cfg.changed(c, {"data.shuffled": True})
    assert [build.data(control, modalities, split).shuffled for split in ("train", "test")] == [True, False]
    test = build.data(cfg.changed(c, {"data.per_class": 2}), modalities, "test")
    assert len(test) == len(build.data(c, modalities, "test"))


def test_what_does_not_fit_is_said(old, tmp_path):
    c = grown(init=str(old))
    c.modality[c.data.modalities[-1]].scale = 2.0
    with pytest.raises(ValueError, match="has scale 1.0 in the model to start from, and 2.0 here"):
        Trainer(c, tmp_path / "a")
    c = grown()
    c.train.replay.share = 0.5
    with pytest.raises(ValueError, match="needs config.train.init"):
        Trainer(c, tmp_path / "b")
    c = grown(init=str(old))
    c.train.replay.share = 1.5
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        Trainer(c, tmp_path / "c")
    c = grown(init=str(old))
    c.data.grid = (24, 24)
    with pytest.raises(ValueError, match="on the same grid"):
        Trainer(c, tmp_path / "d")
    linear, model = torch.nn.Linear(2, 2), hub.load(old)
    more = build.layout(grown(), build.modalities(grown()))
    with pytest.raises(ValueError, match="Linear does not say which weights"):
        take_over(linear, more, model.denoiser.network, model.layout)
    other = torch.nn.Linear(2, 2)  # of the same modalities any network starts from one of the same shape
    take_over(linear, model.layout, other, model.layout)
    assert torch.equal(linear.weight, other.weight)
    assert state.checkpoints(tmp_path / "a") == []
