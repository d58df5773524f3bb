"""Multimodal VAEs of the package `multivae` on the rows that jointdiff learns PolyMNIST from.

    python -m venv peer && peer/bin/pip install -e . multivae     # an environment of its own
    peer/bin/python experiments/polymnist/peer.py --model=mvtcae --minutes=100 --out=runs/mvtcae.pt
    peer/bin/python experiments/polymnist/run.py --model=runs/mvtcae.pt --num=30 --outdir=runs/views

MVTCAE (Hwang et al. 2021) as that package's benchmark sets it, and MMVAE+ (Palumbo et al. 2023) with the settings of its paper
and the convolutions of that benchmark, since the paper's residual networks decode every view from every other: a row costs
them seconds here. The settings are from Senellart et al. 2025, "MultiVae". What training has spent is processor time.
"""

import argparse
import pathlib
import time

import numpy as np
import torch
from multivae.data.datasets.base import IncompleteDataset, MultimodalBaseDataset
from multivae.models import MVTCAE, MMVAEPlus, MMVAEPlusConfig, MVTCAEConfig
from multivae.models.base import BaseAEConfig
from multivae.models.nn.mmnist import (
    DecoderConvMMNIST,
    EncoderConvMMNIST_adapted,
    EncoderConvMMNIST_multilatents,
)
from tqdm import tqdm

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.files import write_atomically

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "polymnist.py"
SHAPE = (3, 28, 28)


class Peer:
    """A VAE that is sampled as a `jointdiff.Model` is: values in [-1, 1]."""

    def __init__(self, kind: str, names: tuple[str, ...]):
        self.kind, self.names = kind, names
        each = lambda value: dict.fromkeys(names, value)
        common = {"n_modalities": len(names), "input_dims": each(SHAPE), "decoders_dist": each("laplace")}
        common["decoder_dist_params"] = each({"scale": 0.75})
        if kind == "mvtcae":
            config = MVTCAEConfig(beta=2.5, alpha=5 / 6, latent_dim=512, **common)
            network, encoder, latent, style = MVTCAE, EncoderConvMMNIST_adapted, 512, 0
        elif kind == "mmvaeplus":
            config = MMVAEPlusConfig(
                K=1, beta=2.5, latent_dim=32, modalities_specific_dim=32, learn_shared_prior=False, learn_modality_prior=True,
                prior_and_posterior_dist="laplace_with_softmax", loss="iwae_looser", **common,
            )  # fmt: skip
            network, encoder, latent, style = MMVAEPlus, EncoderConvMMNIST_multilatents, 32, 32
        else:
            raise ValueError(f"no peer {kind!r}; there are mvtcae and mmvaeplus")
        about = lambda latent, style: BaseAEConfig(latent_dim=latent, style_dim=style, input_dim=SHAPE)
        encoders = {n: encoder(about(latent, style)) for n in names}
        self.network = network(config, encoders, {n: DecoderConvMMNIST(about(latent + style, 0)) for n in names})

    @torch.no_grad()
    def sample(
        self, given=None, num=1, seed=0, leave_out=(), on_step=None, noise=None, **how
    ) -> dict[str, torch.Tensor]:
        self.network.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)  # it draws from this one too
            if given:
                rows = MultimodalBaseDataset({n: (v + 1) / 2 for n, v in given.items()})
                out = self.network.decode(self.network.encode(rows, list(given)))
            else:
                out = self.network.decode(self.network.generate_from_prior(num))
        return {n: out[n].clamp(0, 1) * 2 - 1 for n in self.names if n not in (given or {}) and n not in leave_out}


def load(path: pathlib.Path) -> tuple[Peer, dict]:
    """A trained peer, and what is known of its training."""
    saved = torch.load(path, weights_only=True)
    peer = Peer(saved["kind"], tuple(saved["names"]))
    peer.network.load_state_dict(saved["weights"])
    return peer, {k: saved[k] for k in ("kind", "minutes", "rows")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, choices=("mvtcae", "mmvaeplus"))
    parser.add_argument("--minutes", type=float, default=60.0, help="of one core")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missing", action="store_true", help="half of the views are missing at training")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    if args.out.exists():
        raise SystemExit(f"{args.out} is there; name another --out")
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    config = cfg.from_file(CONFIG)
    config.data.missing = 0.5 if args.missing else 0.0
    config.seed = args.seed
    data = build.data(config, build.modalities(config), "train")
    peer, seen, spent = Peer(args.model, tuple(data.values)), 0, 0.0
    optimizer = torch.optim.Adam(peer.network.parameters(), 1e-3, amsgrad=args.model == "mmvaeplus")
    peer.network.train()
    with tqdm(total=args.minutes, unit="min", desc=args.model, disable=None) as bar:
        while spent < args.minutes:
            rows, began = data.rows(seen, args.batch), time.process_time()
            values = {n: (v + 1) / 2 for n, v in rows.values.items()}
            there = {n: rows.present[:, i] for i, n in enumerate(values)}
            batch = IncompleteDataset(values, there) if args.missing else MultimodalBaseDataset(values)
            optimizer.zero_grad()
            peer.network(batch).loss.backward()
            optimizer.step()
            took = (time.process_time() - began) / 60
            seen, spent = seen + args.batch, spent + took
            bar.update(took)
    saved = {"kind": args.model, "names": list(peer.names), "minutes": spent, "rows": seen}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, lambda p: torch.save({**saved, "weights": peer.network.state_dict()}, p))


if __name__ == "__main__":
    main()
