"""Weights divided among processes: each holds a part of every matrix, of its average and of its optimizer's state.

FSDP2, `torch.distributed.fsdp.fully_shard`; Zhao et al. 2023, arXiv:2304.11277. A block's weights are gathered when it runs
and given back after it. What is divided is a DTensor with the shape of the whole, so norms, averages and optimizers are
written as if it were whole.
"""

import pathlib
import tempfile
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor


def divide(module: nn.Module, units: Iterable[nn.Module], device: torch.device) -> None:
    """Divide a module's parameters among all processes; those of each unit are gathered at once."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for unit in units:
        fully_shard(unit, mesh=mesh)
    fully_shard(module, mesh=mesh)


def divided(module: nn.Module) -> bool:
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor with all of its parts; every process must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor, which every process has, divided as `other` is."""
    if isinstance(other, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value.to(other.device), other.device_mesh, other.placements, src_data_rank=None)
    return value.to(other.device)


def load_module(module: nn.Module, values: dict[str, torch.Tensor]) -> None:
    """`load_state_dict` of whole tensors into a module that may be divided."""
    own = module.state_dict()
    module.load_state_dict({n: like(v, own[n]) if n in own else v for n, v in values.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, values: dict) -> None:
    """`load_state_dict` of whole tensors into an optimizer whose parameters may be divided."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        i: {n: like(v, parameters[i]) if torch.is_tensor(v) and v.ndim else v for n, v in held.items()}
        for i, held in values["state"].items()
    }
    optimizer.load_state_dict({**values, "state": state})


def save(values: dict, folder: pathlib.Path) -> None:
    """Write nested dicts and lists with divided tensors to a folder, each process its own part."""
    import torch.distributed.checkpoint as dcp

    dcp.save(values, checkpoint_id=str(folder))


def load(folder: pathlib.Path) -> dict:
    """What `save` wrote, whole, by any number of processes."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.TemporaryDirectory() as temporary:
        dcp_to_torch_save(folder, f"{temporary}/whole.pt")
        return numbered(torch.load(f"{temporary}/whole.pt", map_location="cpu", weights_only=True))


def numbered(value):
    """Dicts with the numbers for keys that `dcp.save` wrote as text."""
    if isinstance(value, list):
        return [numbered(v) for v in value]
    if isinstance(value, dict):
        return {int(k) if str(k).isdigit() else k: numbered(v) for k, v in value.items()}
    return value
