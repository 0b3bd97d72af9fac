"""How the learning rate follows a global batch that grows or shrinks with the number of ranks.

With AdaScale (Johnson et al. 2020) the gain is measured from how much the ranks' gradients differ: where they
agree, a larger batch brings nothing and the rate stays; where they are noise, it grows like the batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from aios_lab.training.pacing.pace import Pace

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

    def measure(self, own: float, mean: float, parts: int) -> None:
        """Take in a step: the mean of its parts' squared gradients, and the square of their mean gradient. A
        part is what one rank computed at once, of about as many samples as any other."""
        if parts < 2:
            return
        square = max(0.0, (parts * mean - own) / (parts - 1))
        variance = max(0.0, (own - mean) * self.scale / (parts - 1))
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
    """The squared norms of this rank's gradients, before they are weighted, added up and averaged: for
    AdaScale. Each piece of a batch has one of its own."""

    def __init__(self, parameters: Iterable[torch.Tensor], pace: Pace) -> None:
        self._pace = pace
        self._square = torch.zeros(())
        self._passes: Counter[int] = Counter()  # of the backward pass, by parameter: not each has them all
        for number, parameter in enumerate(parameters):
            if parameter.requires_grad:
                hooks: Any = parameter  # Tensor.register_hook has no types
                hooks.register_hook(partial(self._add, number))

    def _add(self, number: int, gradient: torch.Tensor) -> None:
        if self._pace.weight:
            self._passes[number] += 1
            self._square = self._square.to(gradient.device) + gradient.detach().float().square().sum()

    def take(self) -> tuple[float, int]:
        """The mean of them over all pieces of all ranks since the last time, and how many these are."""
        passes = float(max(self._passes.values(), default=0))
        sums = torch.stack([self._square, torch.tensor(passes, device=self._square.device)])
        self._square, self._passes = torch.zeros(()), Counter()
        dist.all_reduce(sums)
        parts = int(sums[1])
        return float(sums[0]) / max(1, parts), parts
