"""The life of a world of ranks as a pure state machine: what happened goes in, orders come out.

gathering (ranks come up) → running → stopping (a stop was asked) or failing (a rank failed) → over
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from aios_lab.training.failures import is_consequence
from aios_lab.training.spec import SAVE_GRACE, STOP_GRACE, STOP_LAG, End, OrderName
from aios_lab.wire import RunState

PEER_GRACE = STOP_LAG + 0.3  # seconds in which other ranks may tell that they failed too
CAUSE_GRACE = 3.0  # seconds to wait for the cause when what came first looks like a consequence
KILL_GRACE = 0.6  # seconds from a kill until a rank that nobody hears of is given up

_WELL = ("ok", "stopped", "paused")


class Phase(StrEnum):
    GATHERING = "gathering"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILING = "failing"


@dataclass
class Gang:
    """The ranks of one world. Methods return the orders to send them now, all of them. Times are monotonic
    seconds, but in ends they are ``clock``'s: seconds since the epoch."""

    world_size: int
    clock: Callable[[], float] = time.time
    phase: Phase = Phase.GATHERING
    ready: set[int] = field(default_factory=set)
    ends: dict[int, End] = field(default_factory=dict)
    deadline: float | None = None  # when ``tick`` is due
    killed: bool = False
    saving: bool = False  # rank 0 writes its model

    @property
    def over(self) -> bool:
        return len(self.ends) == self.world_size

    @property
    def state(self) -> RunState:
        """The run's state as people see it."""
        if self.over:
            return self._verdict()
        if self.phase is Phase.GATHERING:
            return RunState.PENDING
        return RunState.STOPPING if self.phase is Phase.STOPPING else RunState.RUNNING

    def on_ready(self, rank: int) -> list[OrderName]:
        self.ready.add(rank)
        if self.phase is Phase.GATHERING and len(self.ready) == self.world_size:
            self.phase = Phase.RUNNING
            return ["go"]
        return []

    def on_end(self, end: End, now: float) -> list[OrderName]:
        """A rank is gone, for whatever reason; the first word on it counts."""
        if end.rank in self.ends:
            return []
        self.ends[end.rank] = end
        if self.over or end.outcome in _WELL or self.phase is Phase.STOPPING or self.killed:
            return []
        gathering = self.phase is Phase.GATHERING
        self.phase = Phase.FAILING
        if gathering:
            return self._kill(now)
        grace = CAUSE_GRACE if all(is_consequence(e) for e in self._failed()) else PEER_GRACE
        self.deadline = now + grace if self.deadline is None else min(self.deadline, now + grace)
        return []

    def on_stop(self, now: float) -> list[OrderName]:
        """The first stop lets ranks end by themselves; the next kills."""
        if self.over or self.phase is Phase.FAILING:
            return []
        if self.phase is Phase.STOPPING:
            return self.on_kill(now)
        self.phase = Phase.STOPPING
        self.deadline = self._patience(now)
        return ["stop"]

    def on_saving(self, saving: bool, now: float) -> list[OrderName]:
        """Rank 0 began, or ended, to save its model: a stop waits for that."""
        self.saving = saving
        if self.phase is Phase.STOPPING and not self.killed:
            self.deadline = self._patience(now)
        return []

    def on_kill(self, now: float) -> list[OrderName]:
        if self.over:
            return []
        if self.phase is not Phase.FAILING:
            self.phase = Phase.STOPPING
        return self._kill(now)

    def give_up(self, now: float) -> list[OrderName]:
        """What is left of the ranks is of no use: end them now."""
        if self.over or self.killed:
            return []
        self.phase = Phase.FAILING
        return self._kill(now)

    def tick(self, now: float) -> list[OrderName]:
        """What is due: kill those that had their grace; give up those that a kill did not reach."""
        if self.over or self.deadline is None or now < self.deadline:
            return []
        if not self.killed:
            return self._kill(now)
        for rank in range(self.world_size):
            end = End(rank, "?", "killed", self.clock(), error="its worker did not answer")
            self.ends.setdefault(rank, end)
        return []

    def _patience(self, now: float) -> float:
        return now + (SAVE_GRACE if self.saving else STOP_GRACE) + 0.2

    def _kill(self, now: float) -> list[OrderName]:
        self.killed = True
        self.deadline = now + KILL_GRACE
        return ["kill"]

    def _failed(self) -> list[End]:
        return [end for end in self.ends.values() if end.outcome in ("failed", "lost")]

    def _verdict(self) -> RunState:
        if self.phase is Phase.STOPPING:
            return RunState.STOPPED
        return (
            RunState.FAILED if any(e.outcome not in _WELL for e in self.ends.values()) else RunState.FINISHED
        )
