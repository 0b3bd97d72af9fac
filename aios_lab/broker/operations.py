"""Engine calls as tasks: one in flight for every slice, the next one waits its turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

log = logging.getLogger(__name__)

Operation = Callable[[], Awaitable[None]]


class Operations:
    """Runs operations slice by slice. ``on_idle`` is called when a slice has none left."""

    def __init__(self, on_idle: Callable[[str], None]) -> None:
        self._on_idle = on_idle
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._turns: dict[str, int] = {}

    def busy(self, slice_id: str) -> bool:
        return slice_id in self._tasks

    def turn(self, slice_id: str) -> int:
        """A number that rises when something urgent makes what runs already obsolete."""
        return self._turns.get(slice_id, 0)

    def start(self, slice_id: str, operation: Operation) -> None:
        """Run an operation after those of the slice that run already."""
        earlier = list(self._tasks.get(slice_id, ()))

        async def in_turn() -> None:
            if earlier:
                await asyncio.wait(earlier)
            await operation()

        self._begin(slice_id, in_turn())

    def overtake(self, slice_id: str, first: Operation, then: Operation) -> None:
        """Run ``first`` at once, beside what runs already and is obsolete now; ``then`` when that has ended.

        Engine calls are never cancelled half-way: a process that just starts would be lost track of.
        """
        earlier = list(self._tasks.get(slice_id, ()))
        self._turns[slice_id] = self.turn(slice_id) + 1

        async def ahead() -> None:
            await first()
            if earlier:
                await asyncio.wait(earlier)
            await then()

        self._begin(slice_id, ahead())

    def _begin(self, slice_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"aios slice {slice_id}")
        self._tasks.setdefault(slice_id, []).append(task)
        task.add_done_callback(lambda done: self._done(slice_id, done))

    async def come_to_rest(self, slice_ids: Collection[str], seconds: float) -> None:
        """Let the operations of these slices end; what has not after so many seconds is cancelled."""
        tasks = [task for slice_id in slice_ids for task in self._tasks.get(slice_id, ())]
        late = (await asyncio.wait(tasks, timeout=seconds))[1] if tasks else set()
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def cancel_all(self) -> None:
        tasks = [task for some in self._tasks.values() for task in some]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _done(self, slice_id: str, task: asyncio.Task[None]) -> None:
        self._tasks[slice_id].remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("An operation on slice %s failed.", slice_id, exc_info=error)
        if not self._tasks[slice_id]:
            del self._tasks[slice_id]
            self._turns.pop(slice_id, None)
            self._on_idle(slice_id)
