"""One run of training: all its state, one step of it, and how it goes on after a stop.

A batch is a pure function of its step (see batches), so a run's state is its weights, their averages, the optimizers and
the step. A resumed run is the same run, bit for bit.
"""

import pathlib

import torch
from absl import logging
from torch import nn

from . import build, hub, processes, sharding, state
from . import config as cfg
from .align import Teacher
from .batches import Batch, Batches, divisible
from .data import restored
from .denoiser import Denoiser
from .grow import Elder, Replay, shared, take_over
from .model import Model
from .objective import Objective, gathering, spread
from .optimization import Average, flat_until, optimizers, rate

# fields that may change in a run: they are no part of its training
FREE = (
    *("data.root:", "data.on_error:", "sample.", "train.shard:", "train.recompute:", "train.compile:"),
    *("train.minutes:", "train.workers:", "train.checkpoint_every:", "train.keep:", "train.log_every:"),
)


class NotFinite(RuntimeError):
    """The loss stopped being a number."""


def moments(pairs, layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each modality in the joint tensor, over its training items, `(M,)` each."""
    values = [restored(v[:: max(1, len(v) // 4096)]) * layout.scale[n] for n, v in pairs.values.items()]
    return torch.stack([v.mean() for v in values]), torch.stack([v.std().clamp(min=1e-3) for v in values])


def refuse_changes(workdir: pathlib.Path, was, config, step: int) -> None:
    """ValueError that names the fields, where a run at a step would go on with another training."""
    flat = flat_until(config.optim, min(was.train.steps, config.train.steps))
    free = (*FREE, "train.steps:") if step <= flat else FREE
    changed = [line for line in cfg.differences(was, config) if not line.startswith(free)]
    if not changed:
        return
    text = f"{workdir} was made with another config; take another --workdir, or undo\n  " + "\n  ".join(changed)
    if any(line.startswith("train.steps:") for line in changed):
        text += (
            f"\nThe number of steps can be changed until the rate falls, here until step {int(flat)}, and {step} are done. "
            f"To train these weights further: another --workdir, and --config.train.init={workdir}"
        )
    raise ValueError(text)


class Trainer:
    """One run in a workdir, from new weights, or from those that `init` or `config.train.init` names."""

    def __init__(self, config, workdir: pathlib.Path, init: str | pathlib.Path | None = None):
        self.rank, self.world = processes.rank(), processes.world()
        config = build.resolve(config, self.log)
        self.config, self.workdir = config, pathlib.Path(workdir)
        c = config.train
        divisible(config)
        self.device = (
            torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        )
        saved = state.load_checkpoint(self.workdir)
        if saved and c.minutes:  # as many steps as were found then
            c.steps = cfg.from_json(saved["config"]).train.steps
        if saved:
            refuse_changes(self.workdir, cfg.complete(cfg.from_json(saved["config"])), config, saved["step"])
        self.modalities = build.modalities(config)
        self.layout = build.layout(config, self.modalities)
        self.log("reading data")
        pairs = build.data(config, self.modalities, "train", self.log)
        self.init = str(init or c.init)
        old = hub.load(self.init, "cpu") if self.init and (not saved or c.replay.share) else None
        first = old.denoiser if old and not saved else None
        mean, std = (saved["data_mean"], saved["data_std"]) if saved else self.measured(pairs, first)
        self.before = saved.get("before", 0) if saved else old.rows if old else 0  # rows that the weights had seen
        dtype = build.precision(saved["precision"] if saved else c.precision, self.device)
        self.precision = "bf16" if dtype == torch.bfloat16 else "fp32"
        self.denoiser = build.denoiser(config, self.layout, mean, std, dtype).to(self.device)
        network = self.denoiser.network
        aligned = bool(config.loss.align.modality)
        teacher = Teacher(config, self.modalities, pairs, dtype, self.device, self.log) if aligned else None
        if config.loss.align.rows and not (aligned and hasattr(network, "look")):
            raise ValueError(
                "config.loss.align.rows needs config.loss.align.modality, and a network that can look: the U-Net"
            )
        self.alignment = teacher.head(network, config.seed).to(self.device) if teacher else None
        if first:
            self.start_from(network, first)
        elder = (
            Elder(old.denoiser.to(self.device), self.layout) if old and c.replay.share and c.replay.teacher else None
        )
        self.batches = Batches(
            config, self.layout, self.replayed(pairs, old) if c.replay.share else pairs, teacher, self.device
        )
        self.objective = spread(Objective(self.denoiser, self.alignment, elder), c, self.device)
        self.divided = sharding.divided(self.objective)
        fast = self.device.type == "cpu" and build.precision("auto", self.device) == torch.bfloat16
        self.optimizers = optimizers(network, config.optim, self.alignment, fast)
        self.average = Average(network, c.ema)
        self.weights = build.weights(config).to(self.device)
        self.step = 0
        if saved:
            self.restore(saved)
        count = sum(p.numel() for p in network.parameters())
        self.log(f"{count / 1e6:.2f} M parameters, {self.precision} on {self.device.type}, {self.world} process(es)")

    def restore(self, saved: dict) -> None:
        """Take over a checkpoint, which is whole, into weights that may be divided."""
        sharding.load_module(self.denoiser.network, saved["network"])
        if self.alignment:
            sharding.load_module(self.alignment, saved["alignment"])
        self.average.values = {n: sharding.like(saved["ema"][n], v) for n, v in self.average.values.items()}
        for optimizer, values in zip(self.optimizers, saved["optimizers"]):
            sharding.load_optimizer(optimizer, values)
        self.step = saved["step"]
        self.log(f"going on from step {self.step}")

    def start_from(self, network: nn.Module, other: Denoiser) -> None:
        """Take over the weights of a network that differs in its modalities at most."""
        try:
            new = take_over(network, self.layout, other.network, other.layout)
        except ValueError as error:
            raise ValueError(f"config.train.init = {self.init!r}: {error}") from None
        more = f"; {', '.join(new)} is new" if new else ""
        self.log(f"starting from the weights of {self.init}{more}")

    def measured(self, pairs, first: Denoiser | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The data's moments; those of the weights to start from for the modalities that are known there."""
        mean, std = moments(pairs, self.layout)
        for name in shared(self.layout, first.layout) if first else ():
            mine, theirs = self.layout.names.index(name), first.layout.names.index(name)
            mean[mine], std[mine] = first.data_mean[theirs], first.data_std[theirs]
        return mean, std

    def replayed(self, pairs, old: Model | None) -> Replay:
        """Rows of which some are drawn by the old model."""
        c = self.config.train
        if not old:
            raise ValueError("config.train.replay needs config.train.init: the model whose knowledge is to be kept")
        return Replay(pairs, old, c.replay.share, c.replay.rows, self.workdir / "replay.pt", self.config.seed, self.log)

    def log(self, text: str) -> None:
        if self.rank == 0:
            logging.info(text)

    def save(self) -> None:
        if self.rank and not self.divided:
            return
        values = {
            "config": cfg.to_json(self.config),
            "precision": self.precision,
            "network": self.denoiser.network.state_dict(),
            "ema": self.average.values,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "data_mean": self.denoiser.data_mean,
            "data_std": self.denoiser.data_std,
            "before": self.before,
        }
        if self.alignment:
            values["alignment"] = self.alignment.state_dict()
        state.save_checkpoint(self.workdir, self.step, values, self.config.train.keep, self.divided)

    def update(self) -> dict[str, torch.Tensor]:
        """One optimizer step; its losses and noise levels, for the log."""
        c = self.config.train
        batch = self.batches.at(self.step)
        torch.manual_seed(batch.seed)  # dropout
        factor = rate(self.step, self.config.optim, c.steps)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
        losses, far = [], []
        for number, part in enumerate(batch.parts, 1):
            x_0, times, eps, taught, wanted, counts, more = part.to(self.device)
            with gathering(self.objective, last=number == c.accumulate):
                loss, apart = self.objective(x_0, times, eps, wanted, taught, more)
                # the mean over the whole batch: processes are averaged, parts are added
                total = (loss * self.weights).sum() + self.config.loss.align.weight * (apart * counts).sum()
                total.div(c.batch // self.world).backward()
            losses.append(loss.detach())
            far.append(apart.detach())
        loss = torch.cat(losses).cpu()
        self.check(loss, batch)
        if self.config.optim.clip:
            nn.utils.clip_grad_norm_(self.denoiser.network.parameters(), self.config.optim.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.denoiser.network, self.step)
        self.step += 1
        ratio, target = (torch.cat([getattr(p.times, n) for p in batch.parts]) for n in ("ratio", "target"))
        counts = torch.cat([p.counts for p in batch.parts]) > 0
        return {"loss": loss, "ratio": ratio, "target": target, "alignment": torch.cat(far).cpu()[counts]}

    def check(self, loss: torch.Tensor, batch: Batch) -> None:
        bad = (~loss.isfinite()).nonzero()
        if not len(bad):
            return
        row, column = bad[0].tolist()
        x_0 = torch.cat([p.x_0 for p in batch.parts])[row]
        ratio = torch.cat([p.times.ratio for p in batch.parts])[row]
        spoilt = [i for i, channels in enumerate(self.layout.slices.values()) if not x_0[channels].isfinite().all()]
        column = spoilt[0] if spoilt else column
        advice = (
            "the data hold values that are not finite"
            if spoilt
            else "lower config.optim.lr, or set config.train.precision=fp32"
        )
        raise NotFinite(
            f"the loss of {self.layout.names[column]!r} at step {self.step} is not finite, at noise-to-signal "
            f"{float(ratio[column]):.3g}; the last checkpoint is whole; {advice}"
        )

    def model(self) -> Model:
        """A model with the averaged weights; the training network is left alone. Where weights are divided, all must ask."""
        d = self.denoiser
        copy = build.denoiser(self.config, self.layout, d.data_mean.cpu(), d.data_std.cpu(), d.dtype)
        copy.network.load_state_dict({n: sharding.whole(v) for n, v in self.average.values.items()})
        rows = self.before + self.step * self.config.train.batch
        return Model(self.config, copy.to(self.device), self.modalities, rows)
