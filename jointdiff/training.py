"""Training: the loop, what it writes, and how it goes on after a stop.

Every random draw of step k comes from the stream (seed, k), and row j of the data from (seed, j), so a run's state is
its weights, their averages, the optimizers and the step. A resumed run is the same run, bit for bit.
"""

import contextlib
import hashlib
import pathlib
import signal
import sys
import time
from collections.abc import Mapping

import torch
import torch.distributed as dist
from absl import logging
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from . import build, hub, processes, state
from . import config as cfg
from .align import Alignment, teacher_features
from .data import Stored, code, content, kept, restored, save_items
from .evaluate.judge import build_judge, build_judges
from .files import write_atomically
from .journal import clock, log_evaluation, log_losses
from .loss import Times, denoising_loss
from .model import Model
from .streams import SampleNoise, stream

FREE = ("data.root:", "data.on_error:", "sample.")  # fields that may change in a run: they are no part of its training


class NotFinite(RuntimeError):
    """The loss stopped being a number."""


class Objective(nn.Module):
    """The losses of a batch as a module, which is what DistributedDataParallel wraps: `(B, M)`, and alignment's `(B,)`."""

    def __init__(self, denoiser, alignment=None):
        super().__init__()
        self.denoiser, self.alignment, self.seen = denoiser, alignment, None
        if alignment:
            denoiser.network.context.register_forward_pre_hook(self.keep)

    def keep(self, module, arguments):
        self.seen = arguments[0].float()

    def forward(self, x_0, times, eps, wanted=None):
        loss = denoising_loss(self.denoiser, x_0, times, eps)
        return loss, (self.alignment(self.seen, wanted) if self.alignment else loss.new_zeros(len(loss)))


class Average:
    """Exponential moving average of a network's state, with a warm-up: decay = min(decay, (1 + n) / (10 + n))."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.values = {n: v.detach().clone() for n, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        now = network.state_dict()
        torch._foreach_lerp_(list(self.values.values()), [now[n] for n in self.values], weight)


def optimizers(network: nn.Module, c, beside: nn.Module | None = None) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon (Jordan et al. 2024) for the matrices inside the network with AdamW for all else, `beside` too."""
    if c.name not in ("adamw", "muon"):
        raise ValueError(f"unknown optimizer {c.name!r}; there are adamw, muon")
    outer = ("first", "last", "embedding")
    matrices = [
        p for n, p in network.named_parameters() if c.name == "muon" and p.ndim == 2 and not n.startswith(outer)
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen] + list(beside.parameters() if beside else ())
    out = [torch.optim.AdamW(rest, lr=c.lr, weight_decay=c.weight_decay, betas=(0.9, 0.98))]
    if matrices:
        out.append(
            torch.optim.Muon(matrices, lr=c.matrix_lr, weight_decay=c.weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    for optimizer in out:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return out


def rate(step: int, c, steps: int) -> float:
    """Factor of the learning rate: linear warm-up, flat, linear decay to 0 over the last part `c.decay` of the run."""
    up = min(1.0, (step + 1) / max(c.warmup, 1))
    down = min(1.0, (steps - step) / max(c.decay * steps, 1))
    return min(up, down)


def moments(pairs, layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each modality in the joint tensor, over its training items, `(M,)` each."""
    values = [restored(v[:: max(1, len(v) // 4096)]) * layout.scale[n] for n, v in pairs.values.items()]
    return torch.stack([v.mean() for v in values]), torch.stack([v.std().clamp(min=1e-3) for v in values])


class Trainer:
    """One run in a workdir."""

    def __init__(self, config, workdir: pathlib.Path):
        self.rank, self.world = processes.rank(), processes.world()
        config = build.resolve(config, self.log)
        self.config, self.workdir = config, pathlib.Path(workdir)
        c = config.train
        if c.batch % (self.world * c.accumulate):
            raise ValueError(
                f"config.train.batch = {c.batch} is not a multiple of {self.world} processes x "
                f"{c.accumulate} accumulated parts"
            )
        self.device = (
            torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        )
        saved = state.load_checkpoint(self.workdir)
        if saved:
            changed = cfg.differences(cfg.complete(cfg.from_json(saved["config"])), config)
            changed = [line for line in changed if not line.startswith(FREE)]
            if changed:
                raise ValueError(
                    f"{self.workdir} was made with another config; take another --workdir, or undo\n  "
                    + "\n  ".join(changed)
                )
        self.modalities = build.modalities(config)
        self.layout = build.layout(config, self.modalities)
        self.log("reading data")
        self.pairs = build.data(config, self.modalities, "train", self.log)
        first = hub.load(c.init, "cpu").denoiser if c.init and not saved else None
        if saved:
            mean, std = saved["data_mean"], saved["data_std"]
        else:
            mean, std = (first.data_mean, first.data_std) if first else moments(self.pairs, self.layout)
        dtype = build.precision(saved["precision"] if saved else c.precision, self.device)
        self.precision = "bf16" if dtype == torch.bfloat16 else "fp32"
        self.denoiser = build.denoiser(config, self.layout, mean, std, dtype).to(self.device)
        self.alignment, self.wanted = self.teacher()
        self.objective = Objective(self.denoiser, self.alignment)
        if self.world > 1:
            self.objective = DistributedDataParallel(self.objective)
        network = self.denoiser.network
        if first:
            self.start_from(network, first.network)
        self.optimizers = optimizers(network, config.optim, self.alignment)
        self.average = Average(network, c.ema)
        self.patterns = build.patterns(config)
        self.weights = build.weights(config).to(self.device)
        self.step = 0
        if saved:
            network.load_state_dict(saved["network"])
            if self.alignment:
                self.alignment.load_state_dict(saved["alignment"])
            self.average.values = {n: v.to(self.device) for n, v in saved["ema"].items()}
            for optimizer, values in zip(self.optimizers, saved["optimizers"]):
                optimizer.load_state_dict(values)
            self.step = saved["step"]
            self.log(f"going on from step {self.step}")
        count = sum(p.numel() for p in network.parameters())
        self.log(f"{count / 1e6:.2f} M parameters, {self.precision} on {self.device.type}, {self.world} process(es)")

    def teacher(self):
        """The alignment's head and the features that it should find, or two Nones."""
        c = self.config.loss.align
        if not c.modality:
            return None, None
        if c.modality not in self.modalities:
            raise ValueError(
                f"config.loss.align.modality is {c.modality!r}; this config has {', '.join(self.modalities)}"
            )
        network = self.denoiser.network
        if not hasattr(network, "context"):
            raise ValueError(f"{type(network).__name__} has no level that alignment could teach; the U-Net has")
        self.log(f"looking at {c.modality} as its judge does")
        judge = build_judge(self.config, c.modality, self.modalities[c.modality])
        if not hasattr(judge, "features"):
            raise ValueError(f"{c.modality!r} is read, not classified: it has no features to align to")
        values = self.pairs.values[c.modality]

        def write(folder):
            save_items(folder / "items.npy", len(values), [teacher_features(judge, values, self.denoiser.dtype)])

        weights = hashlib.sha256(b"".join(v.numpy().tobytes() for v in judge.state_dict().values())).hexdigest()
        about = [weights, content(values), self.precision, code(teacher_features, type(judge))]
        wanted = Stored(kept(build.cache_root(self.config), "features", about, write) / "items.npy")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            head = Alignment(network.context.in_features, wanted.shape[1])
        return head.to(self.device), wanted

    def start_from(self, network: nn.Module, other: nn.Module) -> None:
        """Take over the weights of a network of the same shape."""
        mine, theirs = ({n: tuple(v.shape) for n, v in m.state_dict().items()} for m in (network, other))
        if mine != theirs:
            odd = next(n for n in (*mine, *theirs) if mine.get(n) != theirs.get(n))
            raise ValueError(
                f"config.train.init = {self.config.train.init!r} has another network: {odd} is {theirs.get(odd)} there and "
                f"{mine.get(odd)} here"
            )
        network.load_state_dict(other.state_dict())
        self.log(f"starting from the weights of {self.config.train.init}")

    def log(self, text: str) -> None:
        if self.rank == 0:
            logging.info(text)

    def save(self) -> None:
        if self.rank:
            return
        values = {
            "config": cfg.to_json(self.config),
            "precision": self.precision,
            "network": self.denoiser.network.state_dict(),
            "ema": self.average.values,
            "alignment": self.alignment.state_dict() if self.alignment else {},
            "optimizers": [o.state_dict() for o in self.optimizers],
            "data_mean": self.denoiser.data_mean,
            "data_std": self.denoiser.data_std,
        }
        state.save_checkpoint(self.workdir, self.step, values, self.config.train.keep)

    def update(self) -> dict[str, torch.Tensor]:
        """One optimizer step; its losses and noise levels, for the log."""
        c, step = self.config.train, self.step
        # of a batch each process draws its own rows alone; what is drawn for a row does not depend on how many there are
        share = c.batch // self.world
        own = slice(self.rank * share, (self.rank + 1) * share)
        values, present, _, index = self.pairs.rows(step * c.batch + own.start, share)
        generator = stream(self.config.seed, 31, step)
        times = self.patterns.draw(c.batch, len(self.layout.names), generator, present, own)
        x_0 = self.layout.pack(values)
        eps = SampleNoise(self.config.seed, share, self.layout.shape, step * c.batch + own.start, more=(32,))()
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
            mine = Times(times.ratio[rows], times.target[rows], times.absent[rows], times.pattern[rows])
            last = part == c.accumulate - 1
            sync = contextlib.nullcontext() if last or self.world == 1 else self.objective.no_sync()
            with sync:
                wanted, counts = self.aligned(index, mine, rows)
                loss, apart = self.objective(x_0[rows].to(self.device), mine, eps[rows].to(self.device), wanted)
                # the mean over the whole batch: processes are averaged, parts are added
                total = (loss * self.weights).sum() + self.config.loss.align.weight * (apart * counts).sum()
                (total / share).backward()
            losses.append(loss.detach())
            far.append(apart.detach()[counts > 0] if self.alignment else apart.detach()[:0])
        loss = torch.cat(losses).cpu()
        self.check(loss, times, values)
        if self.config.optim.clip:
            nn.utils.clip_grad_norm_(self.denoiser.network.parameters(), self.config.optim.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.denoiser.network, step)
        self.step += 1
        return {"loss": loss, "ratio": times.ratio, "target": times.target, "alignment": torch.cat(far).cpu()}

    def aligned(self, index, times: Times, rows: slice):
        """The teacher's features of some rows, and which of them count: those that have the item, with little noise."""
        c = self.config.loss.align
        if not self.alignment:
            return None, torch.zeros((), device=self.device)
        column, item = self.layout.names.index(c.modality), index[c.modality][rows]
        ratio = times.ratio[:, column] / self.layout.scale[c.modality]
        counts = (item >= 0) & ~times.absent[:, column] & (ratio < c.below)
        return self.wanted[item.clamp(min=0)].float().to(self.device), counts.float().to(self.device)

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
        """A model with the averaged weights; the training network is left alone."""
        d = self.denoiser
        copy = build.denoiser(self.config, self.layout, d.data_mean.cpu(), d.data_std.cpu(), d.dtype)
        copy.network.load_state_dict(self.average.values)
        return Model(self.config, copy.to(self.device), self.modalities)

    def run(self) -> None:
        """Train to `config.train.steps`; stop cleanly, with a checkpoint, at SIGINT or SIGTERM."""
        c = self.config.train
        writer = judges = test = None
        if self.rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            self.workdir.mkdir(parents=True, exist_ok=True)
            write_atomically(self.workdir / "config.json", lambda p: p.write_text(cfg.to_json(self.config)))
            writer = SummaryWriter(self.workdir / "tensorboard", purge_step=self.step or None)
            if c.evaluate_every and self.step < c.steps:
                self.log("preparing the judges of coherence")
                judges = build_judges(self.config, self.modalities, self.pairs)
                test = build.data(self.config, self.modalities, "test") if judges else None
        stop = []  # from here on; what came before is quickly done again
        before = {
            s: signal.signal(s, lambda number, frame: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
        }
        terminal = sys.stderr.isatty()
        bar = tqdm(
            total=c.steps, initial=self.step, disable=self.rank > 0 or not terminal, unit="step", dynamic_ncols=True
        )
        history, began, began_at = [], time.monotonic(), self.step
        try:
            while self.step < c.steps and not self.stopping(stop):
                history.append(self.update())
                bar.update()
                if self.step % c.log_every == 0:
                    line = log_losses(writer, self.layout, history, self.step)
                    left = (time.monotonic() - began) / (self.step - began_at) * (c.steps - self.step)
                    bar.set_postfix_str(line)
                    if not terminal:
                        self.log(f"step {self.step}/{c.steps}  {line}  {clock(left)} left")
                    history = []
                if self.step % c.checkpoint_every == 0:
                    self.save()
                if self.rank == 0 and c.evaluate_every and (self.step % c.evaluate_every == 0 or self.step == c.steps):
                    log_evaluation(
                        writer, self.model(), judges, test, c.evaluate_num, self.step, self.workdir, self.log
                    )
            if not state.checkpoints(self.workdir) or self.step % c.checkpoint_every or not self.step:
                self.save()
        finally:
            bar.close()
            if writer:
                writer.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        if stop:
            self.log(f"stopped at step {self.step} of {c.steps}; the same command goes on from here")
        else:
            self.log(
                f"done: {c.steps} steps in {clock(time.monotonic() - began)}; sample with --mode=sample --workdir={self.workdir}"
            )

    def stopping(self, stop: list) -> bool:
        """Whether any process was told to stop; all of them agree."""
        if self.world == 1:
            return bool(stop)
        flag = torch.tensor(float(len(stop)), device=self.device)
        dist.all_reduce(flag)
        return bool(flag > 0)


def train(config=None, workdir="runs/model", data=None, **fields) -> Model:
    """Train a model from Python, or go on with one, and return it.

    Args:
        config: a ConfigDict, the path of a config file, a dict of fields that differ from the defaults, or None.
        workdir: folder of the run; the same call goes on where the last one stopped.
        data: the path of a manifest, instead of the config's sources.
        fields: single fields by their dotted name, such as `**{"train.steps": 1000}`.

    A field that does not exist is a ValueError that names it.
    """
    if isinstance(config, str | pathlib.Path):
        config = cfg.from_file(config)
    elif config is None or isinstance(config, Mapping) and not hasattr(config, "to_dict"):
        config, fields = cfg.default(), {**cfg.flat(config or {}), **fields}
    if data is not None:
        open_grid = {} if "data.grid" in fields or config.data.modalities else {"data.grid": (0, 0)}
        fields = {**open_grid, **fields, "data.manifest": str(data)}
    trainer = Trainer(cfg.changed(config, fields), pathlib.Path(workdir))
    trainer.run()
    return trainer.model()
