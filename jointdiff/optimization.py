"""How weights move: optimizers, the rate over a run, and the average that is kept."""

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor


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


class Muon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) with Newton-Schulz iterations in fp32, on a GPU of all matrices of a shape together.

    PyTorch's own run in bfloat16, one matrix after another: on a CPU that only emulates it they take four times as long as all the
    rest of a step, and a GPU waits for some thousand small launches.
    """

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for params in together([p for p in group["params"] if p.grad is not None]):
                updates = []
                for p in params:
                    state = self.state[p]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(p.grad)
                    mean = state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
                    updates.append(p.grad.lerp(mean, momentum))
                how = group["ns_coefficients"], group["ns_steps"]
                stacked = torch.stack(updates) if len(updates) > 1 else updates[0][None]
                updates = orthogonal(stacked, *how).unbind()
                size = -0.2 * lr * math.sqrt(max(params[0].shape))  # of AdamW's
                torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
                torch._foreach_add_(params, updates, alpha=size)
        return loss


def together(params: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Matrices that are gone through at once: on a GPU all of a shape, but for those whose weights are divided."""
    groups: dict = {}
    for p in params:
        alone = not p.is_cuda or isinstance(p, DTensor)
        groups.setdefault(id(p) if alone else p.shape, []).append(p)
    return list(groups.values())


def orthogonal(matrix: torch.Tensor, coefficients=(3.4445, -4.775, 2.0315), steps: int = 5) -> torch.Tensor:
    """U f(S) V for a matrix U S V, or `(N, rows, columns)` of them: f is a x + b x^3 + c x^5 applied `steps` times to S / |S|,
    between about .7 and 1.2.

    All factors a + b A + c A^2 with A = X X^T commute, so that the small square A is iterated on alone, and X is multiplied
    by their product once.
    """
    a, b, c = coefficients
    x = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    square, scale, rest = x @ x.mT, 1.0, None  # the product so far is scale I + rest
    for step in range(steps):
        apart = b * square + c * (square @ square)  # from a I
        rest = scale * apart if rest is None else a * rest + scale * apart + apart @ rest
        scale *= a
        if step < steps - 1:
            left = a * square + apart @ square
            square = a * left + left @ apart
    x = scale * x + rest @ x
    return x.mT if matrix.shape[-2] > matrix.shape[-1] else x


def optimizers(
    network: nn.Module, c, beside: nn.Module | None = None, fast: bool = True
) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon (Jordan et al. 2024) for the matrices inside the network with AdamW for all else, `beside` too.

    `fast` says whether PyTorch's own Muon is fast: on a CPU that multiplies in bfloat16.
    """
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
        muon = torch.optim.Muon if fast else Muon
        out.append(muon(matrices, lr=c.matrix_lr, weight_decay=c.weight_decay, adjust_lr_fn="match_rms_adamw"))
    for optimizer in out:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return out


def rate(step: int, c, steps: int) -> float:
    """Factor of the learning rate: linear warm-up, flat, linear decay to 0 over the last part `c.decay` of the run, 0 after it.

    Without decay the rate stays, however long a run goes on.
    """
    up = min(1.0, (step + 1) / max(c.warmup, 1))
    down = max(steps - step, 0) / max(c.decay * steps, 1) if c.decay else 1.0
    return min(up, down, 1.0)


def flat_until(c, steps: int) -> float:
    """The step up to which a run of `steps` has gone like every longer one."""
    return (1 - c.decay) * steps
