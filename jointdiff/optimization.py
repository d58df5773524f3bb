"""How weights move: optimizers, the rate over a run, and the average that is kept."""

import torch
from torch import nn


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
    outer = {"first", "last", "embedding", "own"}
    matrices = [
        p for n, p in network.named_parameters() if c.name == "muon" and p.ndim == 2 and outer.isdisjoint(n.split("."))
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
