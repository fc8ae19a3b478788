"""Sharded training (`trainer=fsdp2`): every process holds its share of weights, gradients and optimizer.

Place in the flow: `training.module` loads the model through `load_sharded`, `training.run` gives Lightning the `Sharded`
strategy and saves what `gathered` puts together. Each decoder layer is one unit of torch's `fully_shard`, what is left another:
a unit is whole on a device only while it computes. Only the first process reads the weights, once, into main memory; the
others begin with a structure without weights, and are sent one unit at a time, of which each keeps its share.

Example::

    model = load_sharded(load, mesh, device, trainer.precision_plugin)
    Trainer(strategy=Sharded(data_parallel_size=4, tensor_parallel_size=1), ...)
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.distributed
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

Found = TypeVar("Found")

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Load = Callable[[torch.device, str | None], "PreTrainedModel | PeftModel"]
"""(device, place) -> the model with its trainable weights, to compute on `device`; `place` as `target.load.load_model` has it."""

_REST = "rest.pt"  # of a checkpoint: what is not sharded


def load_sharded(
    load: Load,
    mesh: DeviceMesh,
    device: torch.device,
    precision: Precision,
    find: Callable[[PreTrainedModel | PeftModel], Found],
) -> tuple[PreTrainedModel | PeftModel, Found]:
    """The model spread over the devices of `mesh`, with the values that the first process loads, and what `find` found of it
    there, while it was whole; without weights it prepares the model in the same way."""
    first = mesh.get_local_rank() == 0
    model = load(device, "cpu" if first else "meta")
    if first:
        model = cast(
            "PreTrainedModel | PeftModel", precision.convert_module(model)
        )  # all of it in 16 bits, where so asked
    found = [find(model)]
    torch.distributed.broadcast_object_list(
        found, src=torch.distributed.get_global_rank(mesh.get_group(), 0), group=mesh.get_group(), device=device
    )
    policy = MixedPrecisionPolicy()
    if isinstance(precision, MixedPrecision):
        # Autocast alone would keep a 16-bit copy of every trained weight, whole, for as long as a step takes.
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    layers = set(model._no_split_modules or ())
    for unit in [*(module for module in model.modules() if type(module).__name__ in layers), model]:
        _receive(unit, mesh, device, first=first)
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    return model, found[0]


def _receive(unit: nn.Module, mesh: DeviceMesh, device: torch.device, *, first: bool) -> None:
    """Put every tensor of `unit` that is not sharded yet on `device`, with the first process's values."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}  # a tied weight has several
    for module in unit.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None and not isinstance(tensor, DTensor):
                places.setdefault(id(tensor), []).append((module, name))
    own = [getattr(*found[0]) for found in places.values()]
    kinds = [(tuple(one.shape), one.dtype, one.requires_grad) for one in own]
    group = mesh.get_group()
    source = torch.distributed.get_global_rank(group, 0)
    told = [kinds]
    torch.distributed.broadcast_object_list(told, src=source, group=group, device=device)
    if [shape for shape, *_ in told[0]] != [shape for shape, *_ in kinds]:
        raise RuntimeError(f"{type(unit).__name__}: the processes disagree about the model's structure")
    for old, (shape, dtype, trained), found in zip(own, told[0], places.values(), strict=True):
        new = old.detach().to(device) if first else torch.empty(shape, dtype=dtype, device=device)
        torch.distributed.broadcast(new, src=source, group=group)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=trained)
        for module, name in found:
            setattr(module, name, new)


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights and all buffers that a checkpoint holds, whole, in the first process's main memory; {} in the others.

    Every process has to call this. One weight at a time is whole on the devices.
    """
    first = torch.distributed.get_rank() == 0
    whole: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        if id(parameter) not in whole:
            share = parameter.detach()
            full = share.full_tensor() if isinstance(share, DTensor) else share
            whole[id(parameter)] = full.cpu() if first else full.new_empty(0)
        state[name] = whole[id(parameter)]
    known = dict(model.named_parameters(remove_duplicate=False))
    state |= {name: value.cpu() for name, value in model.state_dict().items() if name not in known}
    return state if first else {}


class Sharded(ModelParallelStrategy):
    """Lightning's strategy with checkpoints of the trained weights alone, which are read without unpickling objects.

    A checkpoint is a folder: each process's share of weights and optimizer in a file of its own, and one file for the rest.
    It has its name only when it is complete, and serves as many processes as have written it.
    """

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {name: _local(one.detach()) for name, one in self._trained()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        for name, parameter in self._trained():
            _local(parameter.detach()).copy_(checkpoint["state_dict"][name])

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        state = optimizer.state_dict()
        state["state"] = {
            number: {key: _local(value) for key, value in of_one.items()} for number, of_one in state["state"].items()
        }
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            moments = {
                number: {key: _as(parameters[number], value) for key, value in of_one.items()}
                for number, of_one in state["state"].items()
            }
            optimizer.load_state_dict(state | {"state": moments})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        path = Path(self.broadcast(str(filepath)))
        partial = path.with_name(f"{path.name}.partial")
        if self.is_global_zero:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.barrier()
        own = {key: checkpoint.pop(key) for key in ("state_dict", "optimizer_states")}
        torch.save(own, partial / _share(self.global_rank, self.world_size))
        if self.is_global_zero:
            torch.save(checkpoint, partial / _REST)
        self.barrier()
        if self.is_global_zero:
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        path = Path(self.broadcast(str(checkpoint_path)))
        rest = torch.load(path / _REST, map_location="cpu", weights_only=True)
        own = torch.load(path / _share(self.global_rank, self.world_size), map_location="cpu", weights_only=True)
        return {**rest, **own}

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        assert self.model is not None
        return ((name, one) for name, one in self.model.named_parameters() if one.requires_grad)


def check_sharded_checkpoint(folder: Path) -> None:
    """Raises ValueError for a checkpoint of which something is missing; torch's files end with their table of contents."""
    shares = sorted(folder.glob("share-*.pt"))
    wanted = int(shares[0].stem.rpartition("-")[2]) if shares else 1
    for file in [folder / _REST, *(folder / _share(rank, wanted) for rank in range(wanted))]:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{file.name} is missing or cut off")


def _share(rank: int, processes: int) -> str:
    return f"share-{rank}-of-{processes}.pt"


def _local(value: Any) -> Any:
    """This process's share of a tensor, anything else as it is."""
    return value.to_local() if isinstance(value, DTensor) else value


def _as(parameter: nn.Parameter, value: Any) -> Any:
    """A moment of the optimizer, spread as its weight is; the number of steps as it is."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    return DTensor.from_local(
        value.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
