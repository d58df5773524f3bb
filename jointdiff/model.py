"""A trained model: denoiser, modalities and config together; sampling, densities and classes by name."""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from . import inference, processes
from .best import best
from .card import card
from .denoiser import Denoiser
from .order import in_turns
from .plan import Plan, Sampling
from .results import Samples
from .samplers import Counted
from .streams import SampleNoise


class Model:
    """What sampling needs. `config` is the training's own, so samples never depend on a second file.

    The denoiser is put into evaluation mode; several threads may use one model. `rows` is how many it has seen in training, in the
    runs that it was started from too. When `shared`, `sample` divides its batches
    among the processes of `torch.distributed`, all of which must call it, and each gets the whole result, the same to the bit.
    """

    shared = False

    def __init__(self, config, denoiser: Denoiser, modalities: Mapping, rows: int = 0):
        self.config, self.denoiser, self.modalities = config, denoiser.eval(), dict(modalities)
        self.layout, self.rows = denoiser.layout, rows

    def __repr__(self) -> str:
        network = self.denoiser.network
        count = sum(p.numel() for p in network.parameters()) / 1e6
        return f"Model({self.layout!r}, {type(network).__name__} of {count:.2f} M parameters, {self.device})"

    @property
    def device(self) -> torch.device:
        return self.denoiser.data_std.device

    def card(self, name: str = "model", results: str = "") -> str:
        """A model card in Markdown; `results` are its figures, such as the coherence.md that `--mode=evaluate` writes."""
        return card(self, name, results)

    def encode(self, name: str, value: Any) -> torch.Tensor:
        """A value of the modality, or of the parts of it that `name` names ("film[0:3]"), as channels, `(N, C_m, H, W)`.

        A tensor is taken as channels; anything else is read as the modality reads it: a text, the path of a file, a PIL
        picture, a numpy array, a waveform with its rate `(wave, rate)`, or a list of these.
        """
        whole, chosen = self.layout.where(name)
        place = self.layout.place(name)
        shape = (place.stop - place.start, *self.layout.grid)
        if isinstance(value, list) and value and all(isinstance(v, torch.Tensor) for v in value):
            value = torch.cat([v[None] if v.ndim == 3 else v for v in value])
        if isinstance(value, torch.Tensor):
            channels = value[None] if value.ndim == 3 else value
            if tuple(channels.shape[1:]) != shape or not channels.is_floating_point():
                raise ValueError(
                    f"a tensor given as {name!r} is float channels (N, {', '.join(map(str, shape))}), "
                    f"got {value.dtype} {tuple(value.shape)}"
                )
            channels = channels.float().cpu()
        else:
            modality, part = self.modalities[whole], len(chosen) < self.layout.parts[whole]
            values = value if isinstance(value, list) else [value]
            if not values:
                raise ValueError(f"the list given as {name!r} is empty")
            raw = [modality.read(v) for v in values]
            if part:  # of a whole film, or of just the frames that are named
                raw = [r[:, chosen] if r.shape[1] == modality.parts else r for r in raw]
                modality = modality.of(len(chosen))
            channels = torch.cat([modality.encode(r) for r in raw])
        if not channels.isfinite().all():
            raise ValueError(f"what was given as {name!r} holds values that are not finite")
        return channels

    def sample(
        self,
        given: Mapping[str, Any] | None = None,
        num: int | None = None,
        seed: int = 0,
        leave_out: Iterable[str] = (),
        *,
        noise: Mapping[str, Any] | None = None,
        denoise_given: bool = False,
        start: Mapping[str, torch.Tensor] | None = None,
        strength: float = 1.0,
        batch: int = 64,
        on_step: Callable | None = None,
        order: Iterable | None = None,
        turn: int = 0,
        **how,
    ) -> Samples:
        """Draw what is not given, from what is.

        Args:
            given: values by name, as `encode` takes them: one for all samples, or one a sample. Of a film the first three frames
                alone are named "film[0:3]".
            num: samples; as many as values are given, or 1, when None.
            seed: sample i depends on (seed, i) alone, not on `num` or `batch`.
            leave_out: modalities that are neither given nor generated.
            noise: standard deviation of the noise in what is given, by name, in units of the channels; "auto" estimates it.
            denoise_given: what is given with noise comes back without it: all is one draw from p(x_0 | what is given).
            start: earlier samples of all modalities to vary instead of drawing anew: they are noised to the time `strength`,
                0 (nothing changes) to 1 (nothing stays), and carried back from there.
            batch: samples computed at once.
            on_step: called after every step with what a batch's samples are by then, channels by name, noisy still.
            order: names, tuples of names that share a turn, or sets of names that share one without seeing each other, to draw one
                after the other, each given what came before and with what comes later absent; what is not named comes last. See
                `order`.
            turn: draws with other noise of the same seed.
            how: sampler, steps, grid, condition, guidance, guide, reading, the config's when not named; see `plan.Sampling`.
        """
        if order is not None:
            if denoise_given or noise or start is not None:
                raise ValueError("an order needs clean conditions and a beginning from noise alone")
            given = {name: self.encode(name, value) for name, value in (given or {}).items()}
            num = max([len(v) for v in given.values()], default=1) if num is None else num
            common = dict(num=num, seed=seed, batch=batch, on_step=on_step, **how)
            return in_turns(self.sample, self.layout, order, given, self.layout.check(leave_out), **common)
        began = time.perf_counter()
        given = {name: self.encode(name, value) for name, value in (given or {}).items()}
        left_out = self.layout.check(leave_out)
        whole = self.layout.whole(given, left_out)
        if len(whole) + len(left_out) == len(self.layout.names) and not denoise_given:
            raise ValueError("everything is given or left out: nothing is left to generate")
        num = max([len(v) for v in given.values()], default=1) if num is None else num
        if num < 1:
            raise ValueError(f"num = {num}; expected at least 1")
        for name, value in given.items():
            if len(value) not in (1, num):
                raise ValueError(f"{len(value)} values of {name!r} are given for {num} samples; expected 1 or {num}")
        run = Plan(self, Sampling(**how), bool(given), left_out)
        if start is not None:
            run.begin(strength)
            start = self.layout.pack({n: self.encode(n, v).expand(num, -1, -1, -1) for n, v in start.items()})
        y, mask = self.layout.observe(given, num)
        level = self.observed_noise(given, noise or {}, num, seed)
        noisy = bool(level.any()) or "auto" in map(str, (noise or {}).values())
        if denoise_given or noisy:
            run.check_noise(denoise_given)
        drawn, counted = {}, Counted(self.denoiser)
        batches = range(0, num, batch)
        for first in batches[processes.rank() :: processes.world()] if self.shared else batches:
            rows = slice(first, min(first + batch, num))
            stream = (2, turn) if turn else ()
            draw = SampleNoise(seed, rows.stop - first, self.layout.shape, first, self.device, stream)
            known = None
            if noisy:  # from streams of its own, so that the rest is drawn as it is from what is clean
                own = SampleNoise(seed, rows.stop - first, self.layout.shape, first, self.device, (1,))
                known = level[rows], own
            begin = None if start is None else start[rows].to(self.device)
            tell = on_step and functools.partial(self._tell, on_step, rows.stop - first)
            with self.denoiser.precision():
                x, used = run(counted, y[rows].to(self.device), mask.to(self.device), draw, tell, known, begin)
            drawn[first] = x.cpu(), getattr(used, "log_evidence", None), counted.rows
            counted.rows = 0
        drawn = processes.gathered(drawn) if self.shared else drawn
        x, log_evidence, evaluated = (list(part) for part in zip(*drawn.values()))
        channels = {n: v for n, v in self.layout.unpack(torch.cat(x)).items() if n not in left_out}
        if not denoise_given:
            channels |= {n: given[n].expand(num, -1, -1, -1).clone() for n in whole}
            for key in set(given) - set(whole):  # parts
                name = self.layout.where(key)[0]
                if name in left_out:
                    continue
                place, start = self.layout.place(key), self.layout.slices[name].start
                channels[name][:, place.start - start : place.stop - start] = given[key]
        info = {
            "num": num,
            "seed": seed,
            "seeds": [[seed, i] for i in range(num)],
            "leave_out": list(left_out),
            **run.settings,
            "noise": {
                n: (level[:, self.layout.place(n).start, 0, 0] / self.layout.scale[self.layout.where(n)[0]]).tolist()
                for n in (noise or {})
            },
            "evaluations": round(sum(evaluated) / num),
            "seconds": time.perf_counter() - began,
            "device": str(self.device),
        }
        if log_evidence[0] is not None:
            info["log_evidence"] = torch.cat([part.cpu() for part in log_evidence]).tolist()
        return Samples(channels, tuple(given), {n: self.modalities[n] for n in channels}, info)

    def _tell(self, on_step: Callable, num: int, x: torch.Tensor) -> None:
        """What `num` samples are by now, to the caller's `on_step`; of several particles a sample the first."""
        on_step(self.layout.unpack(x[:: len(x) // num].float().cpu()))

    def cost(self, given: bool = True, noisy: bool = False, leave_out: Iterable[str] = (), **how) -> int:
        """Network evaluations of one sample, `noisy` if what is given is; of an adaptive sampler the least possible.

        `leave_out` and `how` as `sample` takes them.
        """
        run = Plan(self, Sampling(**how), given, self.layout.check(leave_out))
        counted = Counted(half := lambda x, t: 0.5 * x)
        run.weaker = run.weaker and half
        y = torch.zeros(1, self.layout.shape[0], 1, 1, device=self.device)
        not_led = min(self.layout.names, key=run.reading.__contains__)
        mask = self.layout.mask([not_led]).to(self.device)
        run(counted, y, mask, lambda: torch.zeros_like(y), noisy=noisy and (mask.float(), lambda: torch.zeros_like(y)))
        return counted.rows

    def observed_noise(self, given: Mapping[str, torch.Tensor], noise: Mapping[str, Any], num: int, seed: int):
        """The noise of what is given as one level a sample and channel of the joint tensor, `(num, C, 1, 1)`."""
        out = torch.zeros(num, self.layout.shape[0], 1, 1)
        for name, value in noise.items():
            whole, chosen = self.layout.where(name)
            if name not in given:
                raise ValueError(f"noise is named for {name!r}, which is not given")
            if isinstance(value, str):
                if value != "auto":
                    raise ValueError(f"noise of {name!r} is {value!r}; expected a number from 0 on, or 'auto'")
                value = self.noise_level(name, given[name], seed)
            value = torch.as_tensor(value, dtype=torch.float32).reshape(-1)
            if not value.isfinite().all() or (value < 0).any() or len(value) not in (1, num):
                raise ValueError(f"noise of {name!r} must be a finite number from 0 on, or one a sample")
            out[:, self.layout.place(name)] = value.expand(num).view(-1, 1, 1, 1) * self.layout.scale[whole]
        return out

    noise_level = inference.noise_level
    conditioned = inference.conditioned
    log_prob = inference.log_prob
    classify = inference.classify
    maps = inference.maps
    embed = inference.embed
    expected = inference.expected
    errors = inference.errors
    grid = inference.grid
    best = best
