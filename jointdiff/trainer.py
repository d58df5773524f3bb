"""One run of training: all its state, one step of it, and how it goes on after a stop.

Every random draw of step k comes from the stream (seed, k), and row j of the data from (seed, j), so a run's state is
its weights, their averages, the optimizers and the step. A resumed run is the same run, bit for bit.
"""

import pathlib

import torch
from absl import logging
from torch import nn

from . import build, hub, processes, sharding, state
from . import config as cfg
from .align import Teacher
from .data import restored, shifted
from .denoiser import Denoiser
from .grow import Elder, Replay, shared, take_over
from .model import Model
from .objective import Objective, gathering, spread
from .optimization import Average, optimizers, rate
from .streams import SampleNoise, stream

# fields that may change in a run: they are no part of its training
FREE = (
    *("data.root:", "data.on_error:", "sample.", "train.shard:", "train.recompute:", "train.compile:"),
    *("train.checkpoint_every:", "train.keep:", "train.log_every:"),
)


class NotFinite(RuntimeError):
    """The loss stopped being a number."""


def moments(pairs, layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each modality in the joint tensor, over its training items, `(M,)` each."""
    values = [restored(v[:: max(1, len(v) // 4096)]) * layout.scale[n] for n, v in pairs.values.items()]
    return torch.stack([v.mean() for v in values]), torch.stack([v.std().clamp(min=1e-3) for v in values])


def refuse_changes(workdir: pathlib.Path, was, config) -> None:
    """ValueError that names the fields, where a run would go on with another training."""
    changed = [line for line in cfg.differences(was, config) if not line.startswith(FREE)]
    if changed:
        raise ValueError(
            f"{workdir} was made with another config; take another --workdir, or undo\n  " + "\n  ".join(changed)
        )


class Trainer:
    """One run in a workdir, from new weights, or from those that `init` or `config.train.init` names."""

    def __init__(self, config, workdir: pathlib.Path, init: str | pathlib.Path | None = None):
        self.rank, self.world = processes.rank(), processes.world()
        config = build.resolve(config, self.log)
        self.config, self.workdir = config, pathlib.Path(workdir)
        c = config.train
        if c.batch % (self.world * c.accumulate):
            raise ValueError(
                f"config.train.batch = {c.batch} is not a multiple of {self.world} processes x "
                f"{c.accumulate} accumulated parts"
            )
        if config.loss.align.rows % (self.world * c.accumulate):
            raise ValueError(
                f"config.loss.align.rows = {config.loss.align.rows} is not a multiple of {self.world} processes x "
                f"{c.accumulate} accumulated parts"
            )
        self.device = (
            torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        )
        saved = state.load_checkpoint(self.workdir)
        if saved:
            refuse_changes(self.workdir, cfg.complete(cfg.from_json(saved["config"])), config)
        self.modalities = build.modalities(config)
        self.layout = build.layout(config, self.modalities)
        self.log("reading data")
        self.pairs = build.data(config, self.modalities, "train", self.log)
        self.init = str(init or c.init)
        old = hub.load(self.init, "cpu") if self.init and (not saved or c.replay.share) else None
        first = old.denoiser if old and not saved else None
        mean, std = (saved["data_mean"], saved["data_std"]) if saved else self.measured(first)
        dtype = build.precision(saved["precision"] if saved else c.precision, self.device)
        self.precision = "bf16" if dtype == torch.bfloat16 else "fp32"
        self.denoiser = build.denoiser(config, self.layout, mean, std, dtype).to(self.device)
        network = self.denoiser.network
        aligned = bool(config.loss.align.modality)
        self.teacher = Teacher(config, self.modalities, self.pairs, dtype, self.log) if aligned else None
        if config.loss.align.rows and not (aligned and hasattr(network, "look")):
            raise ValueError(
                "config.loss.align.rows needs config.loss.align.modality, and a network that can look: the U-Net"
            )
        self.alignment = self.teacher.head(network, config.seed).to(self.device) if self.teacher else None
        if first:
            self.start_from(network, first)
        elder = self.replay(old) if c.replay.share else None
        self.objective = spread(Objective(self.denoiser, self.alignment, elder), c, self.device)
        self.divided = sharding.divided(self.objective)
        native = build.precision("auto", self.device) == torch.bfloat16
        self.optimizers = optimizers(network, config.optim, self.alignment, native)
        self.average = Average(network, c.ema)
        self.patterns = build.patterns(config, self.layout)
        self.weights = build.weights(config).to(self.device)
        self.moves = build.moves(config)
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

    def measured(self, first: Denoiser | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The data's moments; those of the weights to start from for the modalities that are known there."""
        mean, std = moments(self.pairs, self.layout)
        for name in shared(self.layout, first.layout) if first else ():
            mine, theirs = self.layout.names.index(name), first.layout.names.index(name)
            mean[mine], std[mine] = first.data_mean[theirs], first.data_std[theirs]
        return mean, std

    def replay(self, old: Model | None) -> Elder | None:
        """Some rows are from now on drawn by the old model; its network as their teacher, if that is wanted."""
        c = self.config.train.replay
        if not old:
            raise ValueError("config.train.replay needs config.train.init: the model whose knowledge is to be kept")
        self.pairs = Replay(self.pairs, old, c.share, c.rows, self.workdir / "replay.pt", self.config.seed, self.log)
        return Elder(old.denoiser.to(self.device), self.layout) if c.teacher else None

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
        }
        if self.alignment:
            values["alignment"] = self.alignment.state_dict()
        state.save_checkpoint(self.workdir, self.step, values, self.config.train.keep, self.divided)

    def update(self) -> dict[str, torch.Tensor]:
        """One optimizer step; its losses and noise levels, for the log."""
        c, step = self.config.train, self.step
        # of a batch each process draws its own rows alone; what is drawn for a row does not depend on how many there are
        share = c.batch // self.world
        own = slice(self.rank * share, (self.rank + 1) * share)
        first = step * (c.batch + self.config.loss.align.rows)
        at = first + own.start
        values, present, _, index = self.pairs.rows(at, share)
        generator = stream(self.config.seed, 31, step)
        times = self.patterns.draw(c.batch, len(self.layout.names), generator, present, own)
        replayed = self.pairs.replayed(at, share) if c.replay.share else torch.zeros(share, dtype=torch.bool)
        x_0 = self.moved(self.layout.pack(values), times, own, c.batch, stream(self.config.seed, 33, step))
        eps = SampleNoise(self.config.seed, share, self.layout.shape, at, more=(32,))()
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)) + self.rank)  # dropout
        factor = rate(step, self.config.optim, c.steps)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
        losses, far = [], []
        size = share // c.accumulate
        for part in range(c.accumulate):
            rows = slice(part * size, (part + 1) * size)
            mine = times[rows]
            wanted, counts = self.teacher.wanted(index, mine, rows) if self.teacher else ([], torch.zeros(size, 0))
            with gathering(self.objective, last=part == c.accumulate - 1):
                more = None
                if self.config.loss.align.rows:
                    more, (features, count) = self.looked(first + c.batch, part)
                    wanted, counts = [torch.cat(f) for f in zip(wanted, features)], torch.cat([counts, count])
                wanted = [w.to(self.device) for w in wanted]
                taught = replayed[rows].to(self.device)
                batch = x_0[rows].to(self.device), mine, eps[rows].to(self.device)
                loss, apart = self.objective(*batch, wanted, taught, more)
                # the mean over the whole batch: processes are averaged, parts are added
                aligned = (apart * counts.to(self.device)).sum()
                ((loss * self.weights).sum() + self.config.loss.align.weight * aligned).div(share).backward()
            losses.append(loss.detach())
            far.append(apart.detach().cpu()[counts > 0])
        loss = torch.cat(losses).cpu()
        self.check(loss, times, values)
        if self.config.optim.clip:
            nn.utils.clip_grad_norm_(self.denoiser.network.parameters(), self.config.optim.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.denoiser.network, step)
        self.step += 1
        return {"loss": loss, "ratio": times.ratio, "target": times.target, "alignment": torch.cat(far)}

    def looked(self, first: int, part: int) -> tuple[tuple, tuple]:
        """Rows from `first` on that are only looked at, this process's for a part of its batch: what the network sees of them,
        and what it is to see."""
        c = self.config
        size = c.loss.align.rows // (self.world * c.train.accumulate)
        begin = (self.rank * c.train.accumulate + part) * size
        own = slice(begin, begin + size)
        values, _, _, index = self.pairs.rows(first + begin, size)
        generator = stream(c.seed, 34, self.step)
        times = self.teacher.alone(c.loss.align.rows, c.loss.log_ratio.absent, generator)[own]
        eps = torch.randn(c.loss.align.rows, *self.layout.shape, generator=generator)[own]
        x_0 = self.moved(self.layout.pack(values), times, own, c.loss.align.rows, generator)
        wanted, counts = self.teacher.wanted(index, times, slice(None))
        there = counts.any(1)  # the others have no such item, or too much noise
        there[0] |= ~there.any()  # all processes look together, so each has a row, that counts or not
        more = x_0[there].to(self.device), times[there], eps[there].to(self.device)
        return more, ([w[there] for w in wanted], counts[there])

    def moved(self, x: torch.Tensor, times, own: slice, of: int, generator: torch.Generator) -> torch.Tensor:
        """`own` rows of so many, whose clean modalities have been moved, by as much as in any other division among processes."""
        for name, by in self.moves.items():
            offsets = torch.randint(2 * by + 1, (2, of), generator=generator)[:, own]
            column, channels = self.layout.names.index(name), self.layout.slices[name]
            clean = (times.ratio[:, column] == 0) & ~times.absent[:, column]
            x[clean, channels] = shifted(x[clean][:, channels], by, offsets[:, clean])
        return x

    def check(self, loss, times, values) -> None:
        bad = (~loss.isfinite()).nonzero()
        if not len(bad):
            return
        row, column = bad[0].tolist()
        spoilt = [i for i, n in enumerate(self.layout.names) if not values[n][row].isfinite().all()]
        column = spoilt[0] if spoilt else column
        advice = (
            "the data hold values that are not finite"
            if spoilt
            else "lower config.optim.lr, or set config.train.precision=fp32"
        )
        raise NotFinite(
            f"the loss of {self.layout.names[column]!r} at step {self.step} is not finite, at noise-to-signal "
            f"{float(times.ratio[row, column]):.3g}; the last checkpoint is whole; {advice}"
        )

    def model(self) -> Model:
        """A model with the averaged weights; the training network is left alone. Where weights are divided, all must ask."""
        d = self.denoiser
        copy = build.denoiser(self.config, self.layout, d.data_mean.cpu(), d.data_std.cpu(), d.dtype)
        copy.network.load_state_dict({n: sharding.whole(v) for n, v in self.average.values.items()})
        return Model(self.config, copy.to(self.device), self.modalities)
