"""Training: the loop, what it writes, stages, and training for some minutes."""

import json
import pathlib
import signal
import sys
import time
from collections.abc import Mapping

import torch
import torch.distributed as dist
from tqdm import tqdm

from . import build, processes, state
from . import config as cfg
from .evaluate.judge import build_judges
from .files import write_atomically
from .journal import clock, log_evaluation, log_losses
from .model import Model
from .optimization import flat_until
from .trainer import Trainer


def fit(trainer: Trainer) -> bool:
    """Train to `config.train.steps`; stop cleanly, with a checkpoint, at SIGINT or SIGTERM. Whether it came to its end."""
    c = trainer.config.train
    writer = judges = test = None
    if trainer.rank == 0:
        from torch.utils.tensorboard import SummaryWriter

        trainer.workdir.mkdir(parents=True, exist_ok=True)
        keep_config(trainer)
        writer = SummaryWriter(trainer.workdir / "tensorboard", purge_step=trainer.step or None)
        if c.evaluate_every and trainer.step < c.steps:
            trainer.log("preparing the judges of coherence")
            judges = build_judges(trainer.config, trainer.modalities, trainer.batches.pairs)
            test = build.data(trainer.config, trainer.modalities, "test")
    stop = []  # from here on; what came before is quickly done again
    before = {s: signal.signal(s, lambda number, frame: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    terminal = sys.stderr.isatty()
    bar = tqdm(
        total=c.steps, initial=trainer.step, disable=trainer.rank > 0 or not terminal, unit="step", dynamic_ncols=True
    )
    history, began, began_at = [], time.monotonic(), trainer.step
    deadline = Deadline(trainer) if c.minutes and (not trainer.step or c.steps == Deadline.OPEN) else None
    try:
        while trainer.step < c.steps and not stopping(trainer, stop):
            history.append(trainer.update())
            if deadline:
                bar.total = deadline.fit()
            bar.update()
            if trainer.step % c.log_every == 0:
                line = log_losses(writer, trainer.layout, history, trainer.step)
                left = (time.monotonic() - began) / (trainer.step - began_at) * (c.steps - trainer.step)
                bar.set_postfix_str(line)
                if not terminal:
                    trainer.log(f"step {trainer.step}/{c.steps}  {line}  {clock(left)} left")
                history = []
            if trainer.step % c.checkpoint_every == 0:
                trainer.save()
            if c.evaluate_every and (trainer.step % c.evaluate_every == 0 or trainer.step == c.steps):
                model = trainer.model() if trainer.rank == 0 or trainer.divided else None
                if trainer.rank == 0:
                    log_evaluation(
                        writer, model, judges, test, c.evaluate_num, trainer.step, trainer.workdir, trainer.log
                    )
        if not state.checkpoints(trainer.workdir) or trainer.step % c.checkpoint_every or not trainer.step:
            trainer.save()
    finally:
        bar.close()
        if writer:
            keep_config(trainer)
            writer.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop:
        trainer.log(f"stopped at step {trainer.step} of {c.steps}; the same command goes on from here")
    else:
        trainer.log(
            f"done: {c.steps} steps in {clock(time.monotonic() - began)}; sample with --mode=sample --workdir={trainer.workdir}"
        )
    return not stop


def keep_config(trainer: Trainer) -> None:
    write_atomically(trainer.workdir / "config.json", lambda p: p.write_text(cfg.to_json(trainer.config)))


class Deadline:
    """As many steps as `config.train.minutes` have room for, found after the first `WARM` ones and corrected while the rate is
    flat: so the run is the one that was told as many from the beginning."""

    WARM, OPEN = 20, 10**9  # steps; and how many they are until that is found

    def __init__(self, trainer: Trainer):
        self.trainer, self.first, self.began, self.warm = trainer, trainer.step, time.monotonic(), 0.0
        trainer.config.train.steps = self.OPEN

    def fit(self) -> int:
        """To be called after every step; the steps of the run."""
        c, step, now = self.trainer.config, self.trainer.step, time.monotonic()
        timed = step - self.first - self.WARM
        if timed <= 0:
            self.warm = now
        elif timed % 10 == 0:
            left = self.began + 60 * c.train.minutes - now
            steps = processes.agreed(step + max(0, int(left * timed / (now - self.warm))), self.trainer.device)
            if c.train.steps == self.OPEN or step < flat_until(c.optim, min(steps, c.train.steps)):
                c.train.steps = steps
        return c.train.steps


def stopping(trainer: Trainer, stop: list) -> bool:
    """Whether any process was told to stop; all of them agree."""
    if trainer.world == 1:
        return bool(stop)
    flag = torch.tensor(float(len(stop)), device=trainer.device)
    dist.all_reduce(flag)
    return bool(flag > 0)


def run(config, workdir: pathlib.Path) -> Trainer:
    """Train by a config, in `workdir`, as far as it goes before it is told to stop; the last trainer.

    Of a config with `train.stages` the last one runs in `workdir`, those before it in its folders `stage_1`, `stage_2`, ...
    """
    configs, before = cfg.staged(config), None
    if config.train.minutes:  # each has its share of them
        share = config.train.minutes / sum(c.train.steps for c in configs)
        configs = [cfg.changed(c, {"train.minutes": share * c.train.steps}) for c in configs]
    folders = [*(pathlib.Path(workdir) / f"stage_{number}" for number in range(1, len(configs))), pathlib.Path(workdir)]
    for number, (stage, folder) in enumerate(zip(configs, folders), 1):
        trainer = Trainer(stage, folder, before)
        if len(configs) > 1:
            trainer.log(f"stage {number} of {len(configs)}")
        begun = [str(later) for later in folders[number:] if state.checkpoints(later)]
        if begun and trainer.step < trainer.config.train.steps:
            raise ValueError(
                f"{begun[0]} began with the weights of step {trainer.step} of {folder}, which can have no more steps now; take "
                "another --workdir"
            )
        if not fit(trainer):
            break
        before = folder
    return trainer


def for_minutes(config, minutes: list[float], folder: pathlib.Path, name: str = "training") -> dict[str, int]:
    """Averaged weights after some core-minutes, processor time of the updates alone, in `folder`; `{minutes: rows seen}`.

    The weights are `folder/MINUTES.safetensors`. What was stopped goes on from its last checkpoint, what is to be trained longer
    from where it ended.
    """
    record, clocks = folder / "rows.json", folder / "run" / "minutes.json"
    rows = json.loads(record.read_text()) if record.is_file() else {}
    if all(str(m) in rows for m in minutes):
        return rows
    trainer = Trainer(config, folder / "run")
    spent_at = json.loads(clocks.read_text()) if clocks.is_file() else {"0": 0.0}
    if str(trainer.step) not in spent_at:
        raise ValueError(
            f"{clocks} does not say how many minutes there were before step {trainer.step}; delete {folder}"
        )
    spent = spent_at[str(trainer.step)]

    def save():
        spent_at[str(trainer.step)] = spent
        write_atomically(clocks, lambda p: p.write_text(json.dumps(spent_at)))  # before the checkpoint that needs it
        trainer.save()

    with tqdm(total=max(minutes), initial=spent, unit="min", desc=name, disable=None) as bar:
        for until in sorted(m for m in minutes if m > spent):
            while spent < until:
                began = time.process_time()
                trainer.update()
                took = (time.process_time() - began) / 60
                spent += took
                bar.update(took)
                if trainer.step % trainer.config.train.checkpoint_every == 0:
                    save()
            state.export(trainer.model(), folder / f"{until:g}.safetensors")
            rows[str(until)] = trainer.step * trainer.config.train.batch
            write_atomically(record, lambda p: p.write_text(json.dumps(rows)))
            save()
    return rows


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
    return run(cfg.changed(config, fields), pathlib.Path(workdir)).model()
