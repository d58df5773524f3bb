"""Guidance distilled: what the teacher's estimate is, to the bit, in which rows, and that it is learned."""

import pytest
import torch
from test_training import equal, tiny, train

from jointdiff import config as cfg
from jointdiff import hub
from jointdiff.condition import reading_guidance
from jointdiff.distil import Led
from jointdiff.loss import PATTERNS, TimePatterns, denoising_loss
from jointdiff.trainer import Trainer


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    config = tiny(steps=60)
    config.backbone.blank = True  # so that what is absent has no noise of its own
    train(config, folder)
    return folder


def distilled(old, **more):
    c = tiny(init=str(old), **more)
    c.backbone.blank, c.backbone.unet.dropout = True, 0.0
    c.loss.distil.modality, c.loss.distil.given, c.loss.distil.reading = "image", "audio", 30.0
    return c


def drawn(layout, rows=64):
    draw = TimePatterns(dict.fromkeys(PATTERNS, 1.0), dict.fromkeys(PATTERNS, (1.0, 1.0))).draw
    return draw(rows, len(layout.names), torch.Generator().manual_seed(0))


def test_the_aim_is_the_led_estimate_of_what_is_drawn_and_nothing_else(old):
    d = hub.load(old, precision="fp32").denoiser
    layout, sde = d.layout, d.sde
    led = Led(d, layout, "image", "audio", 3.0)
    x_0, x_t = torch.rand(6, *layout.shape), torch.randn(6, *layout.shape)
    t = layout.expand(torch.tensor([[0.3, 0.9]] * 6, dtype=torch.float64))
    taught = torch.arange(6) % 2 == 0
    aim = led(x_t, t, x_0, taught)
    assert torch.equal(aim[~taught], x_0[~taught])
    assert torch.equal(aim[:, layout.slices["audio"]], x_0[:, layout.slices["audio"]])
    given, image = layout.mask(["audio"]), layout.mask(["image"])
    ask = reading_guidance(d, d, sde, [given], [(image, 3.0)], torch.zeros_like(x_t))
    with torch.no_grad():
        wanted = ask(torch.where(given, x_0, x_t), torch.where(given, 0.0, t)).clamp(-1, 1)
        plain = d(torch.where(given, x_0, x_t), torch.where(given, 0.0, t))
    place = layout.slices["image"]
    assert torch.allclose(aim[taught][:, place], wanted[taught][:, place], atol=1e-5)
    assert (aim[taught] - plain[taught])[:, place].abs().max() > 0.01  # it is led


def test_what_is_taught_is_drawn_beside_something_and_has_what_the_teacher_is_given(old):
    d = hub.load(old, precision="fp32").denoiser
    led, times = Led(d, d.layout, "image", "audio", 3.0), drawn(d.layout)
    index = {"image": torch.arange(64), "audio": torch.where(torch.arange(64) < 40, 1, -1)}
    taught = led.taught(index, times)
    image, audio = (times.target[:, i] for i in range(2))
    assert torch.equal(taught, (torch.arange(64) < 40) & image & ~times.absent[:, 1])
    assert 0 < taught.sum() < 40 and (taught & audio).any() and (taught & ~audio).any()


def test_a_teacher_that_is_not_led_is_content_with_itself_where_it_was_given_as_much(old):
    d = hub.load(old, precision="fp32").denoiser
    led, times = Led(d, d.layout, "image", "audio", 0.0), drawn(d.layout)
    led.most = torch.inf
    alike = (times.ratio[:, 1] == 0) & times.target[:, 0]  # the network is given the audio without noise as well
    x = torch.rand(64, *d.layout.shape)
    with torch.no_grad():
        aim = lambda x_t, t, x_0: led(x_t, t, x_0, times.target[:, 0])
        loss = denoising_loss(d, x, times, torch.randn_like(x), aim)[:, 0]
    assert alike.any() and loss[alike].max() < 1e-6 < loss[~alike & times.target[:, 0]].min()


def test_it_is_learned_and_resumes_to_the_bit(old, tmp_path):
    c = distilled(old, steps=40)
    c.loss.pattern.update({"joint": 0.0, "conditional": 1.0, "independent": 0.0, "absent": 0.0})
    c.optim.warmup, c.train.ema = 5, 0.9
    whole = train(c, tmp_path / "whole")
    train(c, tmp_path / "parts", stop_at=10)
    assert equal(whole, train(c, tmp_path / "parts"))
    teacher, learned, plain = (
        hub.load(f, precision="fp32").denoiser for f in (old, tmp_path / "whole", train_plain(c, tmp_path / "plain"))
    )
    layout = teacher.layout
    led = Led(teacher, layout, "image", "audio", 30.0)
    rows = Trainer(c, tmp_path / "data").pairs.rows(1000, 64)
    x_0 = layout.pack(rows.values)
    times = TimePatterns({"conditional": 1.0}, {"conditional": (1.0, 1.0)}, {frozenset([1]): 1, frozenset([0]): 0})
    times = times.draw(64, 2, torch.Generator().manual_seed(1))
    taught = led.taught(rows.index, times)
    far = []
    for d in (learned, plain, teacher):
        with torch.no_grad():
            aim = lambda x_t, t, x_0: led(x_t, t, x_0, taught)
            noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(2))
            far.append(denoising_loss(d, x_0, times, noise, aim)[taught, 0].mean())
    assert taught.all() and far[0] < 0.9 * min(far[1:])


def train_plain(c, folder):
    train(cfg.changed(c, {"loss.distil.modality": ""}), folder)
    return folder


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"train.init": ""}, "train.init"),
        ({"train.replay.share": 0.5}, "choose one"),
        ({"loss.distil.given": "image"}, "reading itself"),
        ({"loss.distil.given": "smell"}, "smell"),
    ],
)
def test_what_cannot_be_distilled_is_said(old, tmp_path, changes, says):
    with pytest.raises(ValueError, match=says):
        Trainer(cfg.changed(distilled(old), changes), tmp_path)
