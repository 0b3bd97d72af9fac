"""Each rank holds a part of every parameter, gradient and optimizer state (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from aios_lab.training.errors import CannotTrain
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.training.strategies.blocks import Skeleton, blocks
from aios_lab.training.strategies.meeting import meet
from aios_lab.training.strategies.sharing import Base


class FSDP(Base):
    sharded = True

    def __init__(self, options: StrategyOptions) -> None:
        super().__init__(options)
        self._skeletons: dict[torch.nn.Module, Skeleton] = {}
        self._gathered = 0
        self._divided_by = 1.0

    def backend(self, device: torch.device) -> str:
        offloaded = self.options.cpu_offload and device.type == "cuda"
        return "cpu:gloo,cuda:nccl" if offloaded else super().backend(device)

    def wrap(
        self,
        model: torch.nn.Module,
        device: torch.device,
        optimizer: Optimizer | None = None,
        pace: Pace | None = None,
    ) -> torch.nn.Module:
        model = model.to(device)
        self.same_everywhere(model)
        if not any(p.requires_grad for p in model.parameters()):
            return model
        if optimizer is not None and optimizer.state:
            raise CannotTrain(
                "strategy='fsdp' shards a model before its optimizer takes a step: call ctx.prepare first."
            )
        _take_rank_0s(model)
        self._skeletons[model] = Skeleton(model)
        self.make_ready(model, device)
        before = dict(model.named_parameters())
        self._shard(model, device)
        if optimizer is not None:
            _follow(optimizer, before, model)
        if scale := self.scale_losses():
            scale.adopt(model.parameters(), hook=False)
            self._scale_back(scale.scale)
        if pace is not None:
            model.register_forward_hook(lambda _model, _inputs, outputs: _weighed(outputs, pace.weight))
        return model

    def _shard(self, model: torch.nn.Module, device: torch.device) -> None:
        """Blocks one by one, so that no more than one of them is whole at a time; the rest with the model."""
        low = self.dtype if self.dtype != torch.float32 else None
        options: dict[str, Any] = {
            "mesh": init_device_mesh(device.type, (dist.get_world_size(),)),
            "mp_policy": MixedPrecisionPolicy(
                param_dtype=low,
                reduce_dtype=None if low is None else torch.float32,
                output_dtype=None if low is None else torch.float32,
            ),
            "offload_policy": CPUOffloadPolicy() if self._offloads(device) else OffloadPolicy(),
        }
        for block in blocks(model):
            inner = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=None if low is None else torch.float32)
            fully_shard(block, **{**options, "mp_policy": inner})
        fully_shard(model, **options)

    def _offloads(self, device: torch.device) -> bool:
        return (
            self.options.cpu_offload and device.type != "cpu"
        )  # there, they are in the host's memory already

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        if not isinstance(model, FSDPModule) or model not in self._skeletons:
            return model
        self._gathered += 1
        meet(f"gather {self._gathered}", "ctx.unwrap and ctx.save_model of an fsdp model")
        whole = {name: _whole(parameter) for name, parameter in model.named_parameters()}
        return self._skeletons[model].filled(model, whole)

    def synchronize(self, model: torch.nn.Module, on: bool) -> None:
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(on)

    def step(self, optimizer: Optimizer, step: Callable[[], Any]) -> Any:
        result = super().step(optimizer, step)
        if self._loss_scale is not None:
            self._scale_back(self._loss_scale.scale)
        return result

    def _scale_back(self, scale: float) -> None:
        """Gradients of scaled losses are scaled back where they are averaged."""
        if scale == self._divided_by:
            return
        self._divided_by = scale
        for part in (part for model in self._skeletons for part in model.modules()):
            if isinstance(part, FSDPModule):
                part.set_force_sum_reduction_for_comms(True)
                part.set_gradient_divide_factor(dist.get_world_size() * scale)


def _take_rank_0s(model: torch.nn.Module) -> None:
    """Begin with the same model on all ranks, as DDP does."""
    if dist.get_world_size() > 1:
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor.detach(), src=0)


def _follow(optimizer: Optimizer, before: dict[str, torch.nn.Parameter], model: torch.nn.Module) -> None:
    """Have the optimizer, made before, step the parameters that have taken the place of the old ones."""
    now = dict(model.named_parameters())
    moved = {id(old): now[name] for name, old in before.items()}
    for group in optimizer.param_groups:
        group["params"] = [moved.get(id(p), p) for p in group["params"]]


def _whole(parameter: torch.Tensor) -> torch.Tensor:
    tensor = parameter.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class _Weighed(torch.autograd.Function):
    """The identity, whose gradient counts by a factor."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] * ctx.factor, None


def _weighed(outputs: Any, by: float) -> Any:
    """Sharded parameters have no gradient hooks: what a rank's part of the batch counts is put here."""
    if by == 1.0:
        return outputs
    weighed: Any = _Weighed.apply  # it has no types
    return tree_map_only(torch.Tensor, lambda t: weighed(t, by) if t.requires_grad else t, outputs)
