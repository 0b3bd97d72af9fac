"""What who uses a slice is told of a change of its size, as events of Dask: before it, and after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aios_lab.engines.local import orders


@dataclass(frozen=True)
class Resize:
    """From ``before`` workers to what the order says; a slice that was ``parked`` has its workers back.
    ``leaving`` are the addresses of those that will be gone."""

    before: int
    order: orders.Scale
    parked: bool
    leaving: tuple[str, ...] = ()

    @property
    def first(self) -> dict[str, Any]:
        """Before anything is done: when workers that leave have to be done with their tasks, and why. Some
        may leave a slice that grows."""
        shrinks = self.order.workers < self.before
        deadline = time.time() + self.order.grace if shrinks or self.leaving else None
        return self._event("shrinking" if shrinks else "growing", deadline)

    @property
    def last(self) -> dict[str, Any]:
        """When all of it is done."""
        if self.order.workers and self.order.workers >= self.before:
            return self._event("resumed" if self.parked else "grown")
        return self._event("shrunk" if self.order.workers else "parked")

    @property
    def told(self) -> bool:
        """Whether there is anything to tell: nobody uses a slice that is opened only now. As many workers of
        another shape are others, too."""
        changes = self.order.workers != self.before or bool(self.leaving)
        return changes and bool(self.before or self.parked)

    def _event(self, kind: str, deadline: float | None = None) -> dict[str, Any]:
        return {
            "event": "resize",
            "kind": kind,
            "before": self.before,
            "after": self.order.workers,
            "deadline": deadline,
            "reason": self.order.why,
            "leaving": list(self.leaving),
        }
