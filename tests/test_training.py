"""The training loop, with the embedded data made tiny."""

import json
import time

import pytest
import torch

from jointdiff import build, hub, state
from jointdiff import config as cfg
from jointdiff.build import precision
from jointdiff.trainer import NotFinite, Trainer
from jointdiff.training import fit, for_minutes, run


def tiny(**train):
    c = cfg.default()
    c.data.grid = (8, 8)
    c.data.modalities = ("image", "audio")
    c.modality.image = cfg.modality("image", "handwritten")
    c.modality.audio = cfg.modality("audio", "dtmf", {"seconds": 0.25, "fold": (2, 1)}, {"count": 5})
    c.backbone.unet.widths, c.backbone.unet.blocks, c.backbone.unet.attention = (8, 16), (1, 1), (False, True)
    c.backbone.unet.dropout = 0.1
    c.train.update(
        {
            "steps": 20,
            "batch": 8,
            "evaluate_every": 0,
            "log_every": 5,
            "checkpoint_every": 1000,
            "precision": "fp32",
            **train,
        }
    )
    return c


def train(config, workdir, stop_at=None):
    trainer = Trainer(config, workdir)
    if stop_at is None:
        fit(trainer)
    else:
        while trainer.step < stop_at:
            trainer.update()
        trainer.save()
    return state.load_checkpoint(workdir)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_20_steps_are_10_and_resume_and_10_bit_for_bit(tmp_path, dtype):
    whole = train(tiny(precision=dtype), tmp_path / "whole")
    train(tiny(precision=dtype), tmp_path / "parts", stop_at=10)
    parts = train(tiny(precision=dtype), tmp_path / "parts")
    assert whole["step"] == parts["step"] == 20
    assert equal(whole, parts)
    assert not equal(whole["network"], whole["ema"])


def test_batches_that_are_prepared_ahead_are_the_same_to_the_bit(tmp_path):
    whole = train(tiny(), tmp_path / "whole")
    train(tiny(workers=1), tmp_path / "parts", stop_at=7)
    assert equal(whole, {**train(tiny(workers=2), tmp_path / "parts"), "config": whole["config"]})


def test_accumulated_parts_make_the_same_step(tmp_path):
    one = tiny()
    one.backbone.unet.dropout = 0.0
    two = one.copy_and_resolve_references()
    two.train.accumulate = 4
    a, b = train(one, tmp_path / "a", 3), train(two, tmp_path / "b", 3)
    assert all(torch.allclose(a["network"][n], b["network"][n], atol=1e-4) for n in a["network"])


def test_another_config_is_refused_by_field(tmp_path):
    train(tiny(), tmp_path, stop_at=2)
    before = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    other = tiny(batch=4)
    other.optim.lr = 5e-4
    with pytest.raises(ValueError, match=r"optim.lr: 0.001 -> 0.0005\n  train.batch: 8 -> 4$"):
        Trainer(other, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == before
    moved = tiny()
    moved.data.root, moved.sample.steps = "/elsewhere", 7
    assert Trainer(moved, tmp_path).step == 2  # data may move, and sampling is no part of training


@pytest.mark.parametrize(("decay", "stop_at"), [(0.5, 10), (0.0, 20)])
def test_a_run_is_given_more_steps_while_its_rate_is_flat(decay, stop_at, tmp_path):
    short, long = tiny(), tiny(steps=30)
    short.optim.decay = long.optim.decay = decay
    train(short, tmp_path / "parts", stop_at)
    assert equal(train(long, tmp_path / "whole"), train(long, tmp_path / "parts"))


def test_a_run_whose_rate_has_begun_to_fall_is_not(tmp_path):
    train(tiny(), tmp_path, stop_at=11)
    for steps in (30, 15):  # of 15 it would have fallen from 7.5 on
        with pytest.raises(
            ValueError, match=rf"train.steps: 20 -> {steps}\n.*step {min(steps, 20) // 2}, and 11 are done"
        ) as e:
            Trainer(tiny(steps=steps), tmp_path)
        assert f"--config.train.init={tmp_path}" in str(e.value)
    assert Trainer(tiny(), tmp_path).step == 11


def test_checkpoints_are_kept_and_whole(tmp_path):
    train(tiny(checkpoint_every=4, keep=2), tmp_path)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000016.pt", "step_00000020.pt"]
    (tmp_path / "checkpoints" / names[-1]).write_bytes(b"torn")
    with pytest.raises(ValueError, match="step_00000020.pt cannot be read"):
        Trainer(tiny(checkpoint_every=4, keep=2), tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def broken(p):
        p.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        state.write_atomically(path, broken)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_loss_that_is_not_finite_names_step_modality_and_level(tmp_path):
    trainer = Trainer(tiny(), tmp_path)
    trainer.update()
    trainer.batches.pairs.values["audio"] = trainer.batches.pairs.values["audio"][:].float() * float("nan")
    with pytest.raises(NotFinite, match=r"'audio' at step 1 is not finite, at noise-to-signal \d.*the data hold"):
        for _ in range(5):
            trainer.update()


def test_loss_weights_have_a_mean_of_one_and_name_modalities(tmp_path):
    c = tiny()
    c.loss.weight.audio = 3.0
    assert build.weights(c).tolist() == [0.5, 1.5]
    c.loss.weight.text = 1.0
    with pytest.raises(ValueError, match="names 'text'; this config has audio, image"):
        Trainer(c, tmp_path)


@pytest.mark.parametrize("name", ["unet", "late", "tokens", "mlp"])
def test_every_backbone_trains_is_saved_and_samples(name, tmp_path):
    c = tiny(steps=2)
    c.backbone.name = name
    c.backbone.unet.update({"widths": (8, 16), "blocks": (1, 1), "attention": (False, True)})
    c.backbone.late.update({"widths": (8, 16), "blocks": (1, 1), "meeting": (False, True)})
    c.backbone.tokens.update({"width": 16, "depth": 2})
    trainer = Trainer(c, tmp_path / "run")
    before = {n: p.detach().clone() for n, p in trainer.denoiser.network.named_parameters()}
    assert fit(trainer)
    moved = [n for n, p in trainer.denoiser.network.named_parameters() if not torch.equal(p, before[n])]
    assert len(moved) > 0.9 * len(before)
    model = state.load_run(tmp_path / "run")
    state.export(model, tmp_path / "x.safetensors")
    again = hub.load(tmp_path / "x.safetensors")
    drawn, same = (m.sample(num=2, seed=1, steps=3) for m in (model, again))
    assert all((drawn[n] - same[n]).abs().max() < 0.02 and drawn[n].isfinite().all() for n in drawn)


def test_what_is_given_clean_is_moved_and_what_is_learned_stays(tmp_path, monkeypatch):
    c, seen = tiny(batch=32), {}
    c.loss.pattern.update({"joint": 0.25, "conditional": 0.75, "independent": 0.0, "absent": 0.0})
    for by in (0, 2):
        c.modality.image.moved = by
        trainer = Trainer(c, tmp_path / str(by))

        def forward(x, times, *rest, by=by, objective=trainer.objective.forward):
            seen[by] = x, times
            return objective(x, times, *rest)

        monkeypatch.setattr(trainer.objective, "forward", forward)
        trainer.update()
    (still, times), (moved, _) = seen[0], seen[2]
    clean, image = times.ratio[:, 0] == 0, trainer.layout.slices["image"]
    assert 0 < clean.sum() < len(clean)
    assert torch.equal(still[~clean], moved[~clean])
    assert torch.equal(still[:, image.stop :], moved[:, image.stop :])
    places = set()
    for before, after in zip(still[clean][:, image], moved[clean][:, image]):
        inner = after[:, 2:-2, 2:-2]  # what mirrored edges did not reach
        where = [(y, x) for y in range(5) for x in range(5) if torch.equal(before[:, y : y + 4, x : x + 4], inner)]
        assert where
        places.add(where[0])
    assert len(places) > 1
    c.modality.image.moved = 8
    with pytest.raises(ValueError, match="image.moved = 8; expected 0 to 7 pixels"):
        Trainer(c, tmp_path / "far")


def test_training_for_minutes_keeps_weights_on_the_way_and_does_nothing_twice(tmp_path):
    rows = for_minutes(tiny(), [0.002, 0.008], tmp_path)
    assert 0 < rows["0.002"] < rows["0.008"] and rows["0.002"] % 8 == 0
    early, late = (hub.load(tmp_path / f"{m}.safetensors").denoiser.network.state_dict() for m in ("0.002", "0.008"))
    assert any(not torch.equal(early[n], late[n]) for n in early)
    written = (tmp_path / "0.008.safetensors").stat().st_mtime_ns
    assert for_minutes(tiny(), [0.002, 0.008], tmp_path) == rows
    assert (tmp_path / "0.008.safetensors").stat().st_mtime_ns == written


def test_training_for_minutes_goes_on_where_it_stopped(tmp_path, monkeypatch):
    first = for_minutes(tiny(), [0.002], tmp_path)
    update = Trainer.update

    def stopped(trainer):
        if trainer.step == first["0.002"] // 8 + 3:
            raise KeyboardInterrupt
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        for_minutes(tiny(checkpoint_every=1), [0.002, 1.0], tmp_path)
    monkeypatch.undo()
    spent_at = json.loads((tmp_path / "run" / "minutes.json").read_text())
    step = state.load_checkpoint(tmp_path / "run")["step"]
    assert step == first["0.002"] // 8 + 3 and spent_at[str(step)] > spent_at[str(step - 3)] >= 0.002
    until = spent_at[str(step)] + 0.002
    rows = for_minutes(tiny(checkpoint_every=1), [0.002, until], tmp_path)
    assert rows["0.002"] == first["0.002"] < 8 * step < rows[str(until)]
    whole = Trainer(tiny(), tmp_path / "whole")
    while whole.step * 8 < rows[str(until)]:
        whole.update()
    values, stopped = whole.model().denoiser.network.state_dict(), state.load_checkpoint(tmp_path / "run")["ema"]
    assert all(torch.equal(stopped[n], v) for n, v in values.items())
    (tmp_path / "run" / "minutes.json").unlink()  # of a checkpoint that nothing is known about
    with pytest.raises(ValueError, match=f"does not say how many minutes there were before step {whole.step}; delete"):
        for_minutes(tiny(), [0.002, 1.0], tmp_path)


def test_training_takes_the_minutes_it_has_and_is_the_run_of_as_many_steps(tmp_path):
    trainer = Trainer(tiny(minutes=0.1, checkpoint_every=40), tmp_path / "timed")
    began = time.monotonic()
    assert fit(trainer)
    assert 4 < time.monotonic() - began < 20
    steps = state.load_checkpoint(tmp_path / "timed")["step"]
    assert steps > 40 and cfg.from_json((tmp_path / "timed" / "config.json").read_text()).train.steps == steps
    told = train(tiny(steps=steps), tmp_path / "told")["ema"]
    assert equal(told, state.load_checkpoint(tmp_path / "timed")["ema"])
    assert Trainer(tiny(minutes=0.1), tmp_path / "timed").config.train.steps == steps  # no others when it goes on
    staged = tiny(minutes=0.06)
    staged.train.stages = ({"train.steps": 40},)
    began = time.monotonic()
    run(staged, tmp_path / "staged")
    assert 2 < time.monotonic() - began < 30 and staged.train.minutes == 0.06


def test_precision_is_settable():
    assert precision("fp32", torch.device("cpu")) == torch.float32
    assert precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="fp32, bf16"):
        precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    "abilities, expected",
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, torch.bfloat16),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, torch.float32),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_is_chosen_where_it_is_fast(monkeypatch, abilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert precision("auto", torch.device("cpu")) == expected


def test_a_batch_that_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a multiple of 1 processes x 3"):
        Trainer(tiny(accumulate=3), tmp_path)


def test_training_starts_from_the_weights_it_is_told(tmp_path):
    first = Trainer(tiny(), tmp_path / "first")
    first.update()
    first.save()
    c = tiny()
    c.train.init = str(tmp_path / "first")
    second = Trainer(c, tmp_path / "second")
    averaged = first.average.values
    assert all(torch.equal(v, averaged[n]) for n, v in second.denoiser.network.state_dict().items())
    assert second.step == 0 and torch.equal(second.denoiser.data_std, first.denoiser.data_std)
    c.backbone.unet.widths = (8, 24)
    with pytest.raises(ValueError, match="another network: .* is .* there and"):
        Trainer(c, tmp_path / "third")


def test_stages_are_runs_one_after_the_other(tmp_path):
    """One command ends with the weights of two, bit for bit, also when it is stopped on the way."""
    from jointdiff.training import run

    first, second = tiny(steps=4), tiny(steps=3)
    second.optim.lr, second.train.init = 5e-4, str(tmp_path / "first")
    train(first, tmp_path / "first")
    apart = train(second, tmp_path / "second")
    c = tiny(steps=4, stages=({"train.steps": 3, "optim.lr": 5e-4},))
    stopped = Trainer(c, tmp_path / "staged" / "stage_1")
    stopped.update()
    stopped.save()
    trainer = run(c, tmp_path / "staged")
    together = state.load_checkpoint(tmp_path / "staged")
    assert equal(apart["network"], together["network"]) and equal(apart["ema"], together["ema"])
    model = hub.load(tmp_path / "staged")  # has seen the rows of both
    assert model.rows == trainer.model().rows == Trainer(second, tmp_path / "second").model().rows == 7 * c.train.batch
    state.export(model, tmp_path / "staged.safetensors")
    again = hub.load(tmp_path / "staged.safetensors")
    assert (
        again.rows == model.rows and f"3 steps of {c.train.batch} rows, after {4 * c.train.batch} rows" in again.card()
    )
    assert trainer.step == 3 and trainer.config.optim.lr == 5e-4
    assert run(c, tmp_path / "staged").step == 3  # done already
    flat = tiny(steps=4, stages=({"train.steps": 3},))
    flat.optim.decay = 0.0
    run(flat, tmp_path / "flat")
    flat.train.steps = 5  # after stage 2 has begun from 4 of them
    with pytest.raises(ValueError, match=r"flat began with the weights of step 4 of .*stage_1, which can have no more"):
        run(flat, tmp_path / "flat")
    c.train.stages = ({"optim.rate": 1},)
    with pytest.raises(ValueError, match="unknown field 'optim.rate'"):
        run(c, tmp_path / "other")


def test_rows_that_lack_a_modality_train(tmp_path):
    trainer = Trainer(tiny(), tmp_path)
    pairs = trainer.batches.pairs
    keep = pairs.labels["audio"] < 5
    trainer.batches.pairs = type(pairs)(
        {"image": pairs.values["image"], "audio": pairs.values["audio"][keep]},
        {"image": pairs.labels["image"], "audio": pairs.labels["audio"][keep]},
    )
    seen = [trainer.update() for _ in range(10)]
    lacking = [~trainer.batches.pairs.rows(k * 8, 8)[1] for k in range(10)]
    assert torch.cat(lacking)[:, 1].any()
    for record, gone in zip(seen, lacking):
        assert record["loss"].isfinite().all() and not record["target"][gone].any()
        assert (record["loss"][gone] == 0).all()


def test_the_learned_gaussian_is_the_true_one(tmp_path):
    """Training end to end on correlated numbers: conditional samples have the exact mean and variance."""
    from jointdiff.model import Model

    c = tiny(steps=1500, batch=256, ema=0.99)
    c.data.grid = (2, 2)
    c.modality.image.source_options = {}
    c.modality.audio = cfg.modality("image", "handwritten")
    c.backbone.name = "mlp"
    c.backbone.mlp.width = 64
    c.optim.lr, c.optim.matrix_lr, c.optim.warmup = 3e-3, 3e-3, 50

    class Line:
        """Rows (a, b) with b = 0.8 a + 0.36^(1/2) z, times 1/4, the same for all pixels."""

        values = {}

        def rows(self, start, count):
            g = torch.Generator().manual_seed(start)
            a = torch.randn(count, 1, 1, 1, generator=g)
            b = 0.8 * a + 0.6 * torch.randn(count, 1, 1, 1, generator=g)
            parts = {"image": (a / 4).expand(-1, 1, 2, 2), "audio": (b / 4).expand(-1, 1, 2, 2)}
            return parts, torch.ones(count, 2, dtype=torch.bool), None, None

    trainer = Trainer(c, tmp_path)
    trainer.batches.pairs = Line()
    trainer.denoiser.data_mean.zero_()
    trainer.denoiser.data_std.fill_(0.25)
    while trainer.step < 1500:
        trainer.update()
    model: Model = trainer.model()
    a = torch.full((1, 1, 2, 2), 0.3)
    ode = {"num": 1500, "batch": 1500, "sampler": "heun", "steps": 18}
    b = model.sample({"image": a}, **ode)["audio"].mean((1, 2, 3))
    assert float(b.mean()) == pytest.approx(0.8 * 0.3, abs=0.02)
    assert float(b.std()) == pytest.approx(0.15, rel=0.15)
    back = model.sample({"audio": a}, **ode)["image"].mean((1, 2, 3))
    assert float(back.mean()) == pytest.approx(0.8 * 0.3, abs=0.02)
    free = model.sample(**ode)
    both = torch.stack([free["image"].mean((1, 2, 3)), free["audio"].mean((1, 2, 3))])
    assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(0.8, abs=0.06)


@pytest.mark.slow
def test_a_compiled_network_trains_the_same(tmp_path):
    one = tiny()
    one.backbone.unet.dropout = 0.0
    two = one.copy_and_resolve_references()
    two.train.compile = True
    a, b = train(one, tmp_path / "a", 3), train(two, tmp_path / "b", 3)
    assert all(torch.allclose(a["network"][n], b["network"][n], atol=2e-4) for n in a["network"])


def test_recomputed_activations_change_nothing(tmp_path):
    one = tiny()
    two = one.copy_and_resolve_references()
    two.train.recompute = True
    a, b = train(one, tmp_path / "a", 3), train(two, tmp_path / "b", 3)
    assert all(torch.equal(a["network"][n], b["network"][n]) for n in a["network"])


def test_tensorboard_holds_losses_coherence_and_samples(tmp_path, monkeypatch, quick_judges):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    c = tiny(steps=4, log_every=2, evaluate_every=4, evaluate_num=4)
    c.data.modalities = ("image", "text", "audio")
    c.data.grid = (16, 16)
    c.modality.text = cfg.modality("text", "words", {"cell": (5, 8)})
    c.modality.audio = cfg.modality("audio", "dtmf", {"seconds": 0.25, "fold": (4, 1)}, {"count": 5})
    c.sample.steps = 3
    fit(Trainer(c, tmp_path / "run"))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    tags = events.Tags()
    assert {
        "loss/image",
        "loss/text",
        "loss/audio",
        "coherence/nothing_to_joint",
        "coherence/text_to_image",
        "coherence/image+audio_to_text",
    } <= set(tags["scalars"])
    assert any(t.startswith("loss_by_noise/image_above_") for t in tags["scalars"])
    assert "samples" in tags["images"] and "audio/0" in tags["audio"]
    line = json.loads((tmp_path / "run" / "coherence.jsonl").read_text())
    assert line["step"] == 4 and len([k for k in line if "_to_" in k]) == 10


def looking(**more):
    c = tiny(**more)
    c.loss.align.modality, c.loss.align.rows, c.backbone.blank, c.optim.warmup = "image+audio", 24, True, 5
    c.backbone.unet.dropout = 0.0
    return c


def test_rows_that_are_only_looked_at_resume_to_the_bit_and_come_in_parts(tmp_path, quick_judges):
    whole = train(looking(), tmp_path / "whole")
    train(looking(), tmp_path / "parts", stop_at=10)
    assert equal(whole, train(looking(), tmp_path / "parts"))
    one, four = (train(looking(accumulate=n), tmp_path / str(n), 3)["network"] for n in (1, 4))
    assert all(torch.allclose(one[n], four[n], atol=1e-4) for n in one)
    with pytest.raises(ValueError, match="24 is not a multiple of 1 processes x 16"):
        train(looking(accumulate=16, batch=16), tmp_path / "odd", 1)
    c = looking()
    c.loss.align.modality = ""
    with pytest.raises(ValueError, match="rows needs config.loss.align.modality"):
        Trainer(c, tmp_path / "nobody")


def test_rows_that_are_only_looked_at_are_one_modality_each_and_teach_the_way_down(tmp_path, quick_judges):
    trainer = Trainer(looking(steps=100), tmp_path)
    (x_0, times, _), _, counts = trainer.batches.looked(0, 0)
    assert len(x_0) == len(counts) == 24 and not times.target.any()
    assert torch.equal(counts.bool(), ~times.absent) and (counts.sum(1) == 1).all() and (counts.sum(0) > 4).all()
    assert 4 < (times.ratio == 0).sum() < 24 and times.ratio.max() < 2
    network = trainer.denoiser.network
    before = {n: v.clone() for n, v in network.state_dict().items()}
    trainer.weights.zero_()  # nothing but alignment
    far = [trainer.update()["alignment"].mean() for _ in range(100)]
    assert sum(far[-20:]) / 20 < sum(far[:5]) / 5 - 0.1
    moved = {n for n, v in network.state_dict().items() if (v - before[n]).abs().max() > 0.05}
    assert any(n.startswith("down.") for n in moved) and not any(n.startswith(("up.", "last")) for n in moved)


def test_alignment_teaches_the_lowest_level_and_its_teacher_looks_once(tmp_path, monkeypatch, quick_judges):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    c = tiny(steps=300)
    c.loss.align.modality, c.backbone.blank, c.optim.warmup = "image+audio", True, 5
    trainer = Trainer(c, tmp_path / "run")
    far = [trainer.update()["alignment"] for _ in range(300)]
    assert torch.cat(far[-50:]).mean() < torch.cat(far[:50]).mean() - 0.1
    assert 0 < len(torch.cat(far)) < 2 * 300 * c.train.batch  # not where an item is absent, or all noise
    monkeypatch.setattr("jointdiff.evaluate.classifiers.Classifier.features", None)
    trainer.save()
    again = Trainer(c, tmp_path / "run").batches.teacher.features
    assert [torch.equal(a[:], b[:]) for a, b in zip(again, trainer.batches.teacher.features, strict=True)] == [
        True,
        True,
    ]


def test_towers_teach_what_belongs_together_without_a_class_or_a_judge(tmp_path, monkeypatch):
    from jointdiff import align
    from jointdiff.evaluate.towers import train_towers

    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(train_towers, "__defaults__", (0, 60, 64, "cpu"))
    monkeypatch.setattr(align, "build_judge", None)
    c = tiny(steps=200)
    c.loss.align.modality, c.loss.align.teacher = "image+audio", "towers"
    c.backbone.blank, c.optim.warmup = True, 5
    trainer = Trainer(c, tmp_path / "run")
    features, pairs = trainer.batches.teacher.features, trainer.batches.pairs
    near = [f[:50].float() for f in features]
    same = pairs.labels["image"][:50, None] == pairs.labels["audio"][None, :50]
    alike = near[0] @ near[1].T
    assert alike[same].mean() > alike[~same].mean() + 0.3  # an image and a sound of its class: nobody told the class
    far = [trainer.update()["alignment"] for _ in range(200)]
    assert torch.cat(far[-50:]).mean() < torch.cat(far[:50]).mean() - 0.1
    monkeypatch.setattr(align.Teacher, "look", None)
    trainer.save()
    again = Trainer(c, tmp_path / "run").batches.teacher.features
    assert all(torch.equal(a[:], b[:]) for a, b in zip(again, features, strict=True))
    c.loss.align.teacher = "nobody"
    with pytest.raises(ValueError, match="there are 'judge' and 'towers'"):
        Trainer(c, tmp_path / "other")


def test_towers_are_trained_anew_where_other_items_belong_together(tmp_path, monkeypatch):
    from jointdiff import align
    from jointdiff.data.loader import Table
    from jointdiff.evaluate.towers import train_towers

    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    monkeypatch.setattr(train_towers, "__defaults__", (0, 1, 4, "cpu"))
    c, said, own = tiny(), [], torch.arange(6)
    c.loss.align.modality, c.loss.align.teacher = "image+audio", "towers"
    modalities = build.modalities(c)
    values = {n: torch.rand(6, m.channels, 8, 8) for n, m in modalities.items()}

    def look(partners):
        table = Table(values, {"image": own, "audio": partners}, own)
        align.Teacher(c, modalities, table, torch.float32, torch.device("cpu"), said.append)

    look(own)
    look(own)
    assert len(said) == 1
    look(own.flip(0))  # the same items and the same config
    assert len(said) == 2
