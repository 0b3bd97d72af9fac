"""How the learning rate follows a global batch that grows or shrinks with the number of ranks.

With AdaScale (Johnson et al. 2020) the gain is measured from how much the ranks' gradients differ: where they
agree, a larger batch brings nothing and the rate stays; where they are noise, it grows like the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist

_SMOOTH = 0.999  # of the moving averages, at the batch that the run began with


def gain(variance: float, square: float, scale: float) -> float:
    """AdaScale's gain for a batch ``scale`` times as large: from 1, where gradients agree, to ``scale``."""
    below = variance / scale + square
    return (variance + square) / below if below > 0 else 1.0


class Rate:
    """One rule of ``keeping.GROWTH`` for one optimizer. ``scale`` is the global batch against the one that
    the run began with."""

    def __init__(self, rule: str, optimizer: Any, scale: float) -> None:
        self._rule, self._optimizer, self.scale = rule, optimizer, scale
        self.variance, self.square, self._seen = 0.0, 0.0, 0.0

    @property
    def factor(self) -> float:
        match self._rule:
            case "linear":
                return self.scale
            case "sqrt":
                return math.sqrt(self.scale)
        seen = max(self._seen, 1e-12)
        return gain(self.variance / seen, self.square / seen, self.scale)

    def step(self, step: Callable[[], Any]) -> Any:
        """One optimizer step with the learning rates times ``factor``; schedulers see them as they were."""
        groups = self._optimizer.param_groups
        rates, factor = [group["lr"] for group in groups], self.factor
        for group in groups:
            group["lr"] = group["lr"] * factor
        try:
            return step()
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate

    def measure(self, own: float, mean: float, ranks: int) -> None:
        """Take in a step: the mean of the ranks' squared gradients, and the square of their mean gradient."""
        if ranks < 2:
            return
        square = max(0.0, (ranks * mean - own) / (ranks - 1))
        variance = max(0.0, (own - mean) * self.scale / (ranks - 1))
        keep = _SMOOTH**self.scale
        self.square = keep * self.square + (1 - keep) * square
        self.variance = keep * self.variance + (1 - keep) * variance
        self._seen = keep * self._seen + (1 - keep)

    def state(self) -> dict[str, float]:
        return {"variance": self.variance, "square": self.square, "seen": self._seen}

    def restore(self, state: dict[str, float]) -> None:
        self.variance, self.square, self._seen = state["variance"], state["square"], state["seen"]


def gradients_of(optimizer: Any) -> list[torch.Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def square_of(optimizer: Any) -> float:
    """The squared norm of the averaged gradients."""
    return float(torch.nn.utils.get_total_norm(gradients_of(optimizer))) ** 2


class OwnGradients:
    """The squared norm of this rank's gradients, before they are averaged: for AdaScale."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self._square = torch.zeros(())
        for parameter in parameters:
            if parameter.requires_grad:
                hooks: Any = parameter  # Tensor.register_hook has no types
                hooks.register_hook(self._add)

    def _add(self, gradient: torch.Tensor) -> None:
        self._square = self._square.to(gradient.device) + gradient.detach().float().square().sum()

    def take(self) -> float:
        """The mean of it over all ranks since the last time."""
        square, self._square = self._square, torch.zeros(())
        dist.all_reduce(square)
        return float(square) / dist.get_world_size()
