"""Where all ranks stop at the same step: to save a checkpoint and go on, or to save it and end.

The leader orders "hold" of all ranks; when each has said that it knows, it orders rank 0 to "settle" at which
step. Rank 0 puts it into the ranks' store, and everyone who holds looks there between two steps: two steps
ahead is enough, since ranks that average gradients are never more than one apart.

A stop takes no such turn: each rank counts itself in the store when it hears of it, and once all have, rank 0
puts the step there.
"""

from __future__ import annotations

import threading
import time
from typing import Literal, Protocol

Why = Literal["save", "pause", "stop"]
AHEAD = 2  # steps
SHORTEST_PART, LONGEST_PART = 0.4, 5.0  # seconds from a stop to the step where all ranks end
_KNOW, _PART_AT = "parting", "part-at"


class Store(Protocol):
    """What is needed of torch's stores."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...
    def add(self, key: str, amount: int) -> int: ...


class Boundaries:
    """One rank's side: ``due`` is for its training, the rest for its listening thread."""

    def __init__(self, rank: int, world: int, every: int | None = None) -> None:
        """``every``: also save each so many steps."""
        self._rank, self._world, self._every = rank, world, every
        self._lock = threading.Lock()
        self._pending: tuple[int, Why] | None = None
        self._settled = -1
        self._at: int | None = None
        self._parting, self._here = False, False
        self._part_at: int | None = None
        self._last: float | None = None  # when a step began, and how long the one before took
        self._took: float | None = None

    def hold(self, number: int, why: Why) -> None:
        with self._lock:
            self._pending, self._at = (number, why), None

    def settle(self, number: int) -> None:
        with self._lock:
            self._settled = number

    @property
    def patience(self) -> float:
        """Seconds in which two more steps are done, as these take; 0 where steps are not known, or so long
        that a stop cannot wait for them."""
        with self._lock:
            if self._last is None:
                return 0.0
            step = time.monotonic() - self._last if self._took is None else self._took
        needed = max(SHORTEST_PART, 2.5 * step + 0.2)
        return needed if needed <= LONGEST_PART else 0.0

    @property
    def parting(self) -> bool:
        """Whether the ranks are about to end at a step, or save there what they end with."""
        return self._parting

    def part(self, store: Store | None) -> None:
        """The run is to stop: ``due`` says where."""
        if self._world > 1 and store is not None:
            store.add(_KNOW, 1)
        with self._lock:
            self._parting = True

    def stay(self, even_here: bool = False) -> bool:
        """End at no step any more, but where it has come and not ``even_here``; whether it was to."""
        with self._lock:
            if not self._parting or (self._here and not even_here):
                return False
            self._parting = self._here = False
            return True

    def due(self, step: int, store: Store | None) -> Why | None:
        """What all ranks do before step ``step + 1``. A rank that is past the step they settled on joins them
        late: without averaging, ranks drift apart."""
        periodic: Why | None = "save" if self._every and step and step % self._every == 0 else None
        now = time.monotonic()
        with self._lock:
            self._took, self._last = None if self._last is None else now - self._last, now
            held = self._held(step, store)
            if self._parts(step, store):
                self._here = True
                return "stop"
            return held or periodic

    def _held(self, step: int, store: Store | None) -> Why | None:
        if self._pending is None:
            return None
        number, why = self._pending
        if self._at is None:
            self._at = self._agreed(number, step, store)
        if self._at is None or step < self._at:
            return None
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

    def _parts(self, step: int, store: Store | None) -> bool:
        if not self._parting or self._here:
            return False
        if self._world == 1 or store is None:
            return True
        if self._part_at is None and self._rank == 0 and store.add(_KNOW, 0) == self._world:
            self._part_at = step + 1  # nobody who averages gradients with this rank is past it
            store.set(_PART_AT, str(self._part_at))
        elif self._part_at is None and self._rank and store.check([_PART_AT]):
            self._part_at = int(store.get(_PART_AT))
        return self._part_at is not None and step >= self._part_at
