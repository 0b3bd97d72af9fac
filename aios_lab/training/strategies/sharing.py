"""What both strategies do alike on a rank."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.optim import Optimizer

from aios_lab.training.errors import CannotTrain
from aios_lab.training.pacing.rates import gradients_of
from aios_lab.training.strategies import blocks
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.training.strategies.precision import DTYPES, LossScale


class Base:
    """A strategy's precision, compilation, recomputation, steps and state."""

    sharded = False

    def __init__(self, options: StrategyOptions) -> None:
        self.options = options
        self.dtype = DTYPES[options.precision]
        self._loss_scale: LossScale | None = None

    def backend(self, device: torch.device) -> str:
        return "nccl" if device.type == "cuda" else "gloo"

    def same_everywhere(self, model: torch.nn.Module) -> None:
        """Raises CannotTrain, on every rank, where ranks made models of different shapes: they would wait for
        each other's gradients, or mix them up."""
        mine = {name: tuple(p.shape) for name, p in model.named_parameters()}
        everyone: list[dict[str, tuple[int, ...]]] = [{}] * dist.get_world_size()
        dist.all_gather_object(everyone, mine)
        for rank, its in enumerate(everyone):
            for name in [*everyone[0], *its]:
                first, other = everyone[0].get(name), its.get(name)
                if first != other:
                    raise CannotTrain(
                        f"All ranks must make the same model: {name!r} is {_shape(first)} on rank 0 and "
                        f"{_shape(other)} on rank {rank}."
                    )

    def make_ready(self, model: torch.nn.Module, device: torch.device) -> None:
        """Compile and recompute as asked, in place: names and class of the user's module stay."""
        if self.options.checkpoint_activations:
            blocks.recompute(model)
        if self.options.compile:
            if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
                raise CannotTrain("compile=True needs a C++ compiler (g++ or clang++) where the ranks run.")
            model.compile()

    def scale_losses(self) -> LossScale | None:
        """The run's loss scale, where its precision needs one."""
        if self.options.precision == "fp16" and self._loss_scale is None:
            self._loss_scale = LossScale()
        return self._loss_scale

    def step(self, optimizer: Optimizer, step: Callable[[], Any]) -> Any:
        if self._loss_scale is not None and not self._loss_scale.finite(gradients_of(optimizer)):
            return None
        return step()

    def state(self, model: torch.nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
        weights, moments = get_state_dict(model, () if optimizer is None else optimizer)
        scale = {} if self._loss_scale is None else {"loss_scale": self._loss_scale.state()}
        return {"model": weights, "optimizer": moments, **scale}

    def load(self, model: torch.nn.Module, optimizer: Optimizer | None, state: dict[str, Any]) -> None:
        set_state_dict(
            model,
            () if optimizer is None else optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        if self._loss_scale is not None and "loss_scale" in state:
            self._loss_scale.load(state["loss_scale"])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"
