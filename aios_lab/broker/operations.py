"""Engine calls as tasks: one in flight for every slice, the next one waits its turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Operations:
    """Runs operations slice by slice. ``on_idle`` is called when a slice has none left."""

    def __init__(self, on_idle: Callable[[str], None]) -> None:
        self._on_idle = on_idle
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def busy(self, slice_id: str) -> bool:
        return slice_id in self._tasks

    def start(self, slice_id: str, operation: Callable[[], Awaitable[None]], urgent: bool = False) -> None:
        """Run an operation after those of the slice that run already; an urgent one cancels them first."""
        earlier = list(self._tasks.get(slice_id, ()))

        async def in_turn() -> None:
            if urgent:
                for task in earlier:
                    task.cancel()
            if earlier:
                await asyncio.wait(earlier)
            await operation()

        task = asyncio.get_running_loop().create_task(in_turn(), name=f"aios slice {slice_id}")
        self._tasks.setdefault(slice_id, []).append(task)
        task.add_done_callback(lambda done: self._done(slice_id, done))

    async def cancel_all(self) -> None:
        tasks = [task for some in self._tasks.values() for task in some]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def wait_all(self) -> None:
        """Return when nothing is in flight; for orderly ends and for tests."""
        while self._tasks:
            await asyncio.wait([task for some in self._tasks.values() for task in some])

    def _done(self, slice_id: str, task: asyncio.Task[None]) -> None:
        self._tasks[slice_id].remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("An operation on slice %s failed.", slice_id, exc_info=error)
        if not self._tasks[slice_id]:
            del self._tasks[slice_id]
            self._on_idle(slice_id)
