"""Computing in fewer bits than parameters have: a loss scale keeps small fp16 gradients alive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_map_only

from aios_lab.training.errors import CannotTrain

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FIRST_SCALE = 2.0**10  # few first steps overflow
GROW_AFTER = 500  # good steps until the scale is doubled


def as_float32(outputs: Any) -> Any:
    """``outputs`` with their half-precision tensors in float32, so that losses are computed in it."""
    half = (torch.bfloat16, torch.float16)
    return tree_map_only(torch.Tensor, lambda t: t.float() if t.dtype in half else t, outputs)


class LossScale:
    """Scales every loss before its backward pass and every gradient back before it is added up.

    What a function sees as ``.grad`` is therefore never scaled: clipping, accumulation and weights need to
    know nothing of it. A step whose gradients overflowed is left out, and the scale is halved.
    """

    def __init__(self) -> None:
        self.scale = FIRST_SCALE
        self._good = 0
        self._current = 1.0  # the scale of the backward pass that is going on
        self._known: dict[int, torch.Tensor] = {}
        self._plain = torch.autograd.backward
        torch.autograd.backward = self._backward  # Tensor.backward() calls this, too
        register_optimizer_step_pre_hook(self._refuse_others)

    def adopt(self, parameters: Iterable[torch.nn.Parameter], hook: bool) -> None:
        """These get scaled gradients; with ``hook`` they are scaled back here, else it is done elsewhere."""
        for parameter in parameters:
            self._known[id(parameter)] = parameter
            if hook and parameter.requires_grad:
                tensor: Any = parameter  # Tensor.register_hook has no types
                tensor.register_hook(self._scaled_back)

    def finite(self, gradients: list[torch.Tensor]) -> bool:
        """Whether a step can be taken with these; the scale follows. On all ranks alike, as gradients are.

        Raises:
            FloatingPointError: they are not finite however small the scale.
        """
        if bool(torch.isfinite(_norm(gradients))):
            self._good += 1
            if self._good % GROW_AFTER == 0:
                self.scale *= 2
            return True
        self._good = 0
        self.scale /= 2
        if self.scale < 2.0**-10:
            raise FloatingPointError(
                "The gradients are not finite at any loss scale: the loss diverged (NaN or infinite). "
                "Take a smaller learning rate, or precision='bf16'."
            )
        return False

    def _backward(self, tensors: Any, *args: Any, **options: Any) -> None:
        if (
            self._current != 1.0
        ):  # a backward pass inside one, as of reentrant checkpoints: it is scaled already
            self._plain(tensors, *args, **options)
            return
        scaled = tree_map_only(torch.Tensor, lambda t: t * self.scale, tensors)
        self._current = self.scale
        try:
            self._plain(scaled, *args, **options)
        finally:
            self._current = 1.0

    def _scaled_back(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient if self._current == 1.0 else gradient / self._current

    def _refuse_others(self, optimizer: Optimizer, *_: Any) -> None:
        """An optimizer of parameters that nobody adopted would step by gradients that stay scaled."""
        for group in optimizer.param_groups:
            if any(p.grad is not None and id(p) not in self._known for p in group["params"]):
                raise CannotTrain(
                    "precision='fp16' scales every loss, and this optimizer has parameters that ctx.prepare "
                    "did not get: prepare their model too, or take precision='bf16'."
                )

    def state(self) -> dict[str, Any]:
        return {"scale": self.scale, "good": self._good}

    def load(self, state: dict[str, Any]) -> None:
        self.scale, self._good = float(state["scale"]), int(state["good"])


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    norm = torch.nn.utils.get_total_norm(gradients)
    whole: torch.Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole
