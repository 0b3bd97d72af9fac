"""Where a rank is in its training: what the prepared loader knows and the prepared optimizer must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Pace:
    """One rank's place between two optimizer steps.

    Attributes:
        weight: by what the gradients of the present piece of a batch count.
        samples: how many samples of this rank are in it.
        last: the piece ends its global batch, so that the optimizer steps and the ranks average.
        catching_up: the function runs again from its top and is not yet where its checkpoint was taken;
            nothing that it steps or reports counts.
        optimizers: how many were prepared.
        stepped: optimizer steps that counted.
        step: those of the optimizer that was prepared first, in all worlds.
        unstepped: gradients of batches that were handed out may wait for a step; no checkpoint has them.
        active: loaders in the middle of an iteration, the first begun first.
        pending, taken: gradients of the present batch's pieces before its last, by parameter: those that
            ``.grad`` would have, and those that the optimizer would have stepped by.
        keeping: state is taken or given back, for which torch may step an optimizer that has none yet.
        synchronize: told whether the gradients of the next piece are averaged over the ranks.
    """

    weight: float = 1.0
    samples: int = 1
    last: bool = True
    catching_up: bool = False
    optimizers: int = 0
    stepped: int = 0
    step: int = 0
    unstepped: bool = False
    keeping: bool = False
    active: list[Any] = field(default_factory=list)
    pending: dict[Any, Any] = field(default_factory=dict)
    taken: dict[Any, Any] = field(default_factory=dict)
    synchronize: list[Callable[[bool], None]] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While state is taken or given back, a step is the optimizer's own and counts for nothing."""
        before, self.keeping = self.keeping, True
        try:
            yield
        finally:
            self.keeping = before

    @property
    def counts(self) -> bool:
        return self.last and not self.catching_up

    def enter(self, weight: float = 1.0, samples: int = 1, last: bool = True) -> None:
        """Begin with a piece; without arguments, be outside of a batch."""
        self.weight, self.samples = weight, samples
        if last != self.last:
            self.last = last
            for tell in self.synchronize:
                tell(last)

    def count(self, first: bool = True) -> None:
        """An optimizer steps, the ``first`` that was prepared or another."""
        self.stepped += 1
        self.step += first
        self.unstepped = False

    def begin(self) -> None:
        """Begin with a global batch: what a loop that was left in the middle of one has computed is void."""
        self.pending.clear()
        self.taken.clear()


class Pieces:
    """What is reported for the pieces of a global batch, until it counts as one: their mean by samples."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._samples: dict[str, int] = {}

    def add(self, values: dict[str, Any], samples: int) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * samples
            self._samples[name] = self._samples.get(name, 0) + samples

    def take(self) -> dict[str, Any]:
        """The means, which are forgotten."""
        means = {name: total / max(1, self._samples[name]) for name, total in self._sums.items()}
        self._sums, self._samples = {}, {}
        return means
