"""What the tasks of a slice do: whether any run or wait, and when one has left its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

_AT_WORK = frozenset({"waiting", "queued", "no-worker", "processing"})
_QUIET = 1.0  # seconds without a task after which the slice is said to be quiet: many come one by one


class Tasks(SchedulerPlugin):
    """``changed`` is called when ``computing`` became another: at once when it is true."""

    name = "aios-tasks"

    def __init__(self, changed: Callable[[], None]) -> None:
        self.computing = False
        self._changed = changed
        self._at_work: set[Any] = set()
        self._calming: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        if finish in _AT_WORK:
            self._at_work.add(key)
        else:
            self._at_work.discard(key)
        if start == "processing":
            self._wake()
        self._look()

    def restart(self, scheduler: Scheduler) -> None:
        self._at_work.clear()
        self._wake()
        self._look()

    async def step(self, seconds: float) -> None:
        """Return once a task has left its worker, or after so many seconds."""
        step = asyncio.get_running_loop().create_future()
        self._waiters.append(step)
        with suppress(TimeoutError):
            await asyncio.wait_for(step, seconds)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _look(self) -> None:
        if self._at_work:
            if self._calming is not None:
                self._calming.cancel()
                self._calming = None
            self._say(True)
        elif self.computing and self._calming is None:
            self._calming = asyncio.get_running_loop().call_later(_QUIET, self._calm)

    def _calm(self) -> None:
        self._calming = None
        self._say(False)

    def _say(self, computing: bool) -> None:
        if self.computing != computing:
            self.computing = computing
            self._changed()
