"""Where all ranks stop at the same step: to save a checkpoint and go on, or to save it and end.

The leader orders "hold" of all ranks; when each has said that it knows, it orders rank 0 to "settle" at which
step. Rank 0 puts it into the ranks' store, and everyone who holds looks there between two steps: two steps
ahead is enough, since ranks that average gradients are never more than one apart.
"""

from __future__ import annotations

import threading
from typing import Literal, Protocol

Why = Literal["save", "pause"]
AHEAD = 2  # steps


class Store(Protocol):
    """What is needed of torch's stores."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


class Boundaries:
    """One rank's side: ``hold`` and ``settle`` are for its listening thread, ``due`` for its training."""

    def __init__(self, rank: int, world: int, every: int | None = None) -> None:
        """``every``: also save each so many steps."""
        self._rank, self._world, self._every = rank, world, every
        self._lock = threading.Lock()
        self._pending: tuple[int, Why] | None = None
        self._settled = -1
        self._at: int | None = None

    def hold(self, number: int, why: Why) -> None:
        with self._lock:
            self._pending, self._at = (number, why), None

    def settle(self, number: int) -> None:
        with self._lock:
            self._settled = number

    def due(self, step: int, store: Store | None) -> Why | None:
        """What all ranks do before step ``step + 1``. A rank that is past the step they settled on joins them
        late: without averaging, ranks drift apart."""
        periodic: Why | None = "save" if self._every and step and step % self._every == 0 else None
        with self._lock:
            if self._pending is None:
                return periodic
            number, why = self._pending
            if self._at is None:
                self._at = self._agreed(number, step, store)
            if self._at is None or step < self._at:
                return periodic
            self._pending = self._at = None
            return why

    def _agreed(self, number: int, step: int, store: Store | None) -> int | None:
        key = f"hold-{number}"
        if self._rank == 0:
            if self._settled < number:
                return None
            if self._world == 1 or store is None:
                return step
            store.set(key, str(step + AHEAD))
            return step + AHEAD
        if store is None or not store.check([key]):
            return None
        return int(store.get(key))
