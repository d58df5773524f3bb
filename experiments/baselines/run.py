"""What people would have typed instead: coherence on the data of `digits` against core-minutes of training, side by side.

    python experiments/baselines/run.py --workdir=runs/baselines           # about two hours on one core
    python experiments/baselines/run.py --workdir=runs/baselines --quick   # seconds

Contenders, at batches of 64 rows, one thread, all with a rate that stays:

* jointdiff: configs/digits.py, its first stage; clean conditions, 18 ancestral steps.
* one time: the same network and optimizer with one time for all modalities, the joint-diffusion paper's way, drawn by
  replacement.
* score_sde: in the style of Song et al. 2021, arXiv:2011.13456, and its code: a U-Net at full resolution with four levels of two
  blocks and attention at 16 x 16, fp32, AdamW at 2e-4, one time; predictor and corrector with replacement.
* diffusers: its UNet2DModel of the same widths, its DDPMScheduler, noise as the target, and replacement written on top. Needs
  `pip install diffusers`, and is left out without.

What is kept in --workdir is not trained again. Writes result.json after every figure, result.md and curves.png beside this
file, or to --outdir.
"""

import copy
import importlib.util
import json
import pathlib
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from jointdiff import build
from jointdiff.files import write_atomically

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from contenders import Contender, arguments, compare, on_digits, table  # noqa: E402

WIDTHS, SMALL_WIDTHS = (64, 128, 128, 128), (16, 16, 16, 16)
ONE_TIME = {"loss.pattern": {"joint": 1.0, "conditional": 0.0, "independent": 0.0, "absent": 0.0}}
SCORE_SDE = {
    **ONE_TIME,
    "backbone.unet.patch": 1,
    "backbone.unet.widths": WIDTHS,
    "backbone.unet.blocks": (2, 2, 2, 2),
    "backbone.unet.attention": (False, True, False, False),
    "optim.name": "adamw",
    "optim.lr": 2e-4,
    "train.precision": "fp32",
}


class Diffusers:
    """A library's U-Net and scheduler on the joint tensor, trained to tell the noise, sampled by replacement."""

    def __init__(self, config, quick: bool):
        from diffusers import DDPMScheduler, UNet2DModel

        self.config, self.modalities = config, build.modalities(config)
        self.layout = build.layout(config, self.modalities)
        widths = SMALL_WIDTHS if quick else WIDTHS
        torch.manual_seed(config.seed)
        self.network = UNet2DModel(
            sample_size=self.layout.grid,
            in_channels=self.layout.shape[0],
            out_channels=self.layout.shape[0],
            block_out_channels=widths,
            layers_per_block=2,
            norm_num_groups=8 if quick else 32,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.scheduler = DDPMScheduler(1000)

    def train(self, minutes, folder: pathlib.Path) -> dict[str, int]:
        """Averaged weights after some core-minutes, as `training.for_minutes` keeps them; it starts again when stopped."""
        record = folder / "rows.json"
        rows = json.loads(record.read_text()) if record.is_file() else {}
        if all(str(m) in rows for m in minutes):
            return rows
        folder.mkdir(parents=True, exist_ok=True)
        pairs, batch = build.data(self.config, self.modalities, "train"), self.config.train.batch
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-4)
        average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
        )
        g, step, spent = torch.Generator().manual_seed(self.config.seed), 0, 0.0
        with tqdm(total=max(minutes), unit="min", desc="diffusers", disable=None) as bar:
            for until in sorted(minutes):
                while spent < until:
                    began = time.process_time()
                    x, _ = self.layout.observe(pairs.rows(step * batch, batch).values, batch)
                    noise = torch.randn(x.shape, generator=g)
                    t = torch.randint(1000, (batch,), generator=g)
                    loss = (self.network(self.scheduler.add_noise(x, noise, t), t).sample - noise).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                    optimizer.step()
                    average.update_parameters(self.network)
                    step += 1
                    took = (time.process_time() - began) / 60
                    spent += took
                    bar.update(took)
                save_file(average.module.state_dict(), folder / f"{until:g}.safetensors")
                rows[str(until)] = step * batch
                write_atomically(record, lambda p: p.write_text(json.dumps(rows)))
        return rows

    def load(self, path) -> "Diffusers":
        self.network.load_state_dict(load_file(path))
        return self

    @torch.no_grad()
    def sample(self, given, num, seed, steps) -> dict[str, torch.Tensor]:
        y, mask = self.layout.observe(given, num)
        g = torch.Generator().manual_seed(seed)
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(steps)
        x = torch.randn((num, *self.layout.shape), generator=g)
        for t in scheduler.timesteps:
            known = scheduler.add_noise(y, torch.randn(y.shape, generator=g), t.expand(num))
            x = torch.where(mask, known, x)
            x = scheduler.step(self.network(x, t).sample, t, x, generator=g).prev_sample
        return self.layout.unpack(torch.where(mask, y, x))


REPLACE = {"condition": "replace", "guidance": 0.0}
CONTENDERS = {
    "jointdiff": Contender((4, 8, 12, 16, 24)),
    "one time": Contender((8, 16, 24), on_digits(ONE_TIME), {**REPLACE, "steps": 18}),
    "score_sde": Contender(
        (24,),
        on_digits(SCORE_SDE, {"backbone.unet.widths": SMALL_WIDTHS}),
        {**REPLACE, "sampler": "predictor_corrector", "steps": 50},
    ),
    "diffusers": Contender((24,), sampling={"steps": 50}, peer=Diffusers),
}


def main():
    args = arguments(__doc__, "baselines", HERE, CONTENDERS)
    contenders = dict(CONTENDERS)
    if importlib.util.find_spec("diffusers") is None:
        print("diffusers is not installed, and is left out: pip install diffusers")
        contenders.pop("diffusers")
    if result := compare(args, contenders):
        print(table(result))


if __name__ == "__main__":
    main()
