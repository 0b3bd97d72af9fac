"""Every rank holds the whole model; gradients are averaged by all-reduce."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from aios_lab.training.pacing.pace import Pace
from aios_lab.training.pacing.stepping import weigh_gradients
from aios_lab.training.strategies.blocks import Skeleton
from aios_lab.training.strategies.precision import as_float32
from aios_lab.training.strategies.sharing import Base

HOOKS = {
    # Wrapped, since DDP takes it by its name for one that needs NCCL: Gloo adds up bf16 as well.
    "bf16": lambda group, bucket: default_hooks.bf16_compress_hook(group, bucket),
    "fp16": default_hooks.fp16_compress_hook,
}


class Replicated(DistributedDataParallel):
    """DDP that computes in ``dtype``; the user's module is ``module``."""

    def __init__(self, model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(model, device_ids=[device.index] if device.type == "cuda" else None)
        self._device, self._dtype = device.type, dtype
        self.skeleton: Skeleton | None = None

    def forward(self, *inputs: Any, **options: Any) -> Any:
        forward: Any = super().forward  # it has no types
        if self._dtype == torch.float32:
            return forward(*inputs, **options)
        with torch.autocast(self._device, self._dtype):
            return as_float32(forward(*inputs, **options))


class DDP(Base):
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
        skeleton = Skeleton(model) if self.options.checkpoint_activations else None
        self.make_ready(model, device)
        if scale := self.scale_losses():
            scale.adopt(model.parameters(), hook=True)
        if pace is not None:
            weigh_gradients(model, pace)
        wrapped = Replicated(model, device, self.dtype)
        wrapped.skeleton = skeleton
        if hook := HOOKS.get(self.options.gradients):
            wrapped.register_comm_hook(None, hook)
        return wrapped

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        if not isinstance(model, DistributedDataParallel):
            return model
        inner: torch.nn.Module = model.module
        skeleton: Skeleton | None = getattr(model, "skeleton", None)
        return inner if skeleton is None else skeleton.filled(inner, dict(inner.named_parameters()))

    def synchronize(self, model: torch.nn.Module, on: bool) -> None:
        if isinstance(model, DistributedDataParallel):
            model.require_backward_grad_sync = on  # what its no_sync() sets for as long as a block lasts
