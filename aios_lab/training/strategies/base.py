"""How ranks work together: what can be asked for, and the interface of the objects that do it on the ranks.

This module is light: the strategies themselves, which need torch, are imported on the ranks alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from aios_lab.training.errors import CannotTrain

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

    from aios_lab.training.pacing.pace import Pace

STRATEGIES = {"ddp": "aios_lab.training.strategies.ddp:DDP", "fsdp": "aios_lab.training.strategies.fsdp:FSDP"}
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """How ``ctx.prepare`` makes a model train on all ranks.

    Attributes:
        strategy: ``ddp`` (each rank holds the whole model) or ``fsdp`` (each rank holds a part).
        precision: what forward and backward compute in; parameters and the optimizer stay ``fp32``.
        accumulate: each rank takes its part of a global batch in so many pieces, one after the other.
        checkpoint_activations: keep no activations inside blocks, compute them again in the backward pass.
        compile: ``torch.compile`` the model.
        gradients: ddp: what gradients are sent as, ``fp32``, ``bf16`` or ``fp16``.
        cpu_offload: fsdp: keep parameters, gradients and optimizer state in the host's memory.
    """

    strategy: str = "ddp"
    precision: str = "fp32"
    accumulate: int = 1
    checkpoint_activations: bool = False
    compile: bool = False
    gradients: str = "fp32"
    cpu_offload: bool = False

    def check(self) -> None:
        """Raises CannotTrain, with what is possible, for options that are none or do not go together."""
        _one_of("strategy", self.strategy, tuple(STRATEGIES))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("gradients", self.gradients, PRECISIONS)
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise CannotTrain(f"accumulate={self.accumulate!r} is no number of pieces: give 1 or more.")
        for name in ("checkpoint_activations", "compile", "cpu_offload"):
            if not isinstance(getattr(self, name), bool):
                raise CannotTrain(f"{name}={getattr(self, name)!r} is neither True nor False.")
        if self.cpu_offload and self.strategy != "fsdp":
            raise CannotTrain(
                "cpu_offload=True goes with strategy='fsdp': ddp keeps the model on its device."
            )
        if self.gradients != "fp32" and self.strategy != "ddp":
            raise CannotTrain(
                f"gradients={self.gradients!r} goes with strategy='ddp': fsdp adds gradients up in fp32."
            )

    @property
    def changed(self) -> dict[str, Any]:
        """The options that differ from their defaults, but for the strategy's name."""
        plain = StrategyOptions(self.strategy)
        return {name: value for name, value in asdict(self).items() if value != getattr(plain, name)}


class Strategy(Protocol):
    """One way of training a model on several ranks; lives on a rank. Made of its ``StrategyOptions``."""

    sharded: (
        bool  # each rank holds a part of the model: ``unwrap`` is then a call that all ranks make together
    )

    def __init__(self, options: StrategyOptions) -> None: ...

    def backend(self, device: torch.device) -> str:
        """The process group's backend for ranks on ``device``."""

    def wrap(
        self,
        model: torch.nn.Module,
        device: torch.device,
        optimizer: Optimizer | None = None,
        pace: Pace | None = None,
    ) -> torch.nn.Module:
        """The model on ``device``, made to train together; the process group exists already.

        ``optimizer`` is the same object afterwards, and steps what the wrapped model has. ``pace`` tells by
        what this rank's gradients of the piece at hand count before they are averaged.
        """

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The user's own module out of what ``wrap`` gave, whole; other modules come back as they are."""

    def synchronize(self, model: torch.nn.Module, on: bool) -> None:
        """Whether the next forward and backward of the wrapped ``model`` end with gradients averaged over the
        ranks; without, they add up on each rank until those of one that is."""

    def step(self, optimizer: Optimizer, step: Callable[[], Any]) -> Any:
        """Take the optimizer's ``step``, unless this strategy must not; all ranks decide alike."""

    def state(self, model: torch.nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
        """Model, optimizer and own state for torch.distributed.checkpoint: by parameters' names, so that any
        number of ranks and either strategy can read it."""

    def load(self, model: torch.nn.Module, optimizer: Optimizer | None, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave."""


def make(options: StrategyOptions) -> Strategy:
    """The strategy that was asked for, on a rank."""
    module, _, name = STRATEGIES[options.strategy].partition(":")
    strategy: Strategy = getattr(import_module(module), name)(options)
    return strategy


def _one_of(name: str, value: Any, possible: tuple[str, ...]) -> None:
    if value in possible:
        return
    near = difflib.get_close_matches(str(value), possible, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise CannotTrain(f"There is no {name} {value!r}.{meant} Use one of: {', '.join(possible)}.")
