"""Optimizers and gradients in step with the prepared loader: a global batch is one step, in however many
pieces a rank computes it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from types import MethodType
from typing import Any

import torch

from aios_lab.training.pacing.pace import Pace


def weigh_gradients(model: torch.nn.Module, pace: Pace) -> None:
    """Scale gradients by the piece's share of the global batch, and hold back those of all but the last.

    With n of N samples in a piece of one of W ranks, the mean over ranks of the sums of n·W/N · (the
    piece's mean) is the mean over the N samples. Terms that do not depend on samples (weight decay in the
    loss) keep their size. Until the last piece the parameters' own gradients are zero, so that code which
    clips them between the pieces changes nothing. What it sets to zero before a step, such as what another
    model's loss left here, is dropped, as it would be of a batch in one piece.
    """

    def weighed(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor | None:
        if pace.optimizers and parameter.grad is None:  # the module's own zero_grad
            pace.pending.pop(parameter, None)
        held = [some for some in (pace.pending, pace.taken) if parameter in some]
        if pace.last and pace.weight == 1.0 and not held:
            return None
        gradient = gradient * pace.weight
        if not pace.last:
            _add(pace.pending, parameter, gradient)
            return torch.zeros_like(gradient)
        for some in held:
            gradient = gradient + some.pop(parameter)
        return gradient

    for parameter in model.parameters():
        if parameter.requires_grad:
            hooks: Any = parameter  # Tensor.register_hook has no types
            hooks.register_hook(functools.partial(weighed, parameter))


def follow(optimizer: Any, pace: Pace, around: Callable[[Callable[[], Any]], Any] | None = None) -> None:
    """Have ``optimizer.step`` step only where a global batch ends; ``around`` is called with each such step.

    The optimizer stays the same object: schedulers and scalers that hold it need not know.
    """
    step, zero = optimizer.step, optimizer.zero_grad
    first, pace.optimizers = not pace.optimizers, pace.optimizers + 1

    @functools.wraps(step)  # and so the marks that schedulers leave on it
    def paced(_self: Any, *args: Any, **options: Any) -> Any:
        if pace.keeping:
            return step(*args, **options)
        if not pace.counts:
            loss = _loss_of(*args, **options)
            for parameter in pending():
                gradient = pace.pending.pop(parameter)
                if parameter.grad is not None:  # what batches before this one left there goes along
                    _add(pace.taken, parameter, gradient + parameter.grad)
            return loss
        pace.count(first)
        whole = functools.partial(step, *args, **options)
        return whole() if around is None else around(whole)

    @functools.wraps(zero)
    def zeroed(_self: Any, *args: Any, **options: Any) -> None:
        for parameter in pending():
            del pace.pending[parameter]
        zero(*args, **options)

    def pending() -> list[Any]:
        return [p for group in optimizer.param_groups for p in group["params"] if p in pace.pending]

    optimizer.step, optimizer.zero_grad = MethodType(paced, optimizer), MethodType(zeroed, optimizer)


def hold(thing: Any, methods: Collection[str], pace: Pace) -> None:
    """Have a scheduler's or scaler's ``methods`` do nothing where the optimizer does not step either.

    It gets a class of its own: a scheduler's state is all that is set on the object. A scaler's ``step``
    still tells its optimizer, which notes what it would have stepped by.
    """
    own = type(thing)

    def held(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            if pace.counts:
                return original(self, *args, **options)
            if original.__name__ == "step" and args and isinstance(args[0], torch.optim.Optimizer):
                args[0].step()
            return None

        return call

    calls = {method: held(getattr(own, method)) for method in methods}
    thing.__class__ = type(own.__name__, (own,), {**calls, "__module__": own.__module__})


def _add(gradients: dict[Any, Any], parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    before = gradients.get(parameter)
    gradients[parameter] = gradient if before is None else before + gradient


def _loss_of(closure: Callable[[], Any] | None = None, **_: Any) -> Any:
    """What a step returns that does not step: a closure still has to compute its gradients."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
