"""How a worker gives way: it takes no new tasks, ends those that it runs, and its data goes elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, NamedTuple

from distributed import Scheduler, Status
from distributed.scheduler import WorkerState

from aios_lab.engines.local.tasks import Tasks

log = logging.getLogger(__name__)

_MOVE = 20.0  # seconds that moving a worker's data may take
_ANSWER = 1.0  # seconds between two questions to a worker, and the least that it gets to answer
_STIMULUS = "aios-give-way"


class Fenced(NamedTuple):
    """Workers that did not end their tasks in time, and how many tasks those were."""

    workers: int = 0
    tasks: int = 0


class GivingWay:
    """Asks workers of ``scheduler``, by their names, to give way. One that is gone has done so."""

    def __init__(self, scheduler: Scheduler, tasks: Tasks) -> None:
        self._scheduler = scheduler
        self._tasks = tasks

    def worker(self, name: str) -> WorkerState | None:
        return next((ws for ws in self._scheduler.workers.values() if str(ws.name) == name), None)

    def take_no_more(self, name: str) -> None:
        """From now on the scheduler gives the worker no task and no data."""
        if (ws := self.worker(name)) is not None:
            self._scheduler.handle_worker_status_change(Status.paused, ws, _STIMULUS)

    async def finish(self, name: str, deadline: float) -> Fenced:
        """Wait for the tasks that the worker runs; others go elsewhere at once.

        Returns what has not ended when ``time.monotonic`` reaches the deadline. A worker that does not answer
        by then is dropped: its data would not move either.
        """
        self.take_no_more(name)
        while (ws := self.worker(name)) is not None:
            left = deadline - time.monotonic()
            try:
                waiting = await self._ask(ws, "aios_pause", max(left, _ANSWER))
            except TimeoutError:
                fenced = Fenced(1, len(ws.processing))
                await self.drop(name)
                return fenced
            except OSError:  # it is going
                return Fenced()
            for key in waiting:
                self._scheduler._reschedule(key, ws.address, stimulus_id=_STIMULUS)
            if not ws.processing:
                break
            if left <= 0:
                return Fenced(1, len(ws.processing))
            await self._tasks.step(min(left, _ANSWER))
        return Fenced()

    async def move(self, name: str) -> None:
        """Move the worker's data to others and take it out of the scheduler, which runs its tasks elsewhere.
        What cannot be moved, or not in time, is computed again."""
        if self.worker(name) is None:
            return
        try:
            async with asyncio.timeout(_MOVE):
                await self._scheduler.retire_workers(names=[name], close_workers=True)
        except TimeoutError:
            log.warning("worker %s: its data did not move within %.0f s", name, _MOVE)
        except (KeyError, OSError) as error:  # Dask, when a worker dies while it gives way
            log.warning("worker %s: its data did not move (%r)", name, error)
        await self.drop(name)

    async def drop(self, name: str) -> None:
        """Take the worker out of the scheduler: its tasks run elsewhere, and are not blamed for its end."""
        if (ws := self.worker(name)) is not None:
            await self._scheduler.remove_worker(ws.address, expected=True, stimulus_id=_STIMULUS)

    async def rest(self, name: str) -> bool:
        """Have a worker without tasks keep its data on disk, as far as it can be; whether it does."""
        return await self._told(name, "aios_rest", _MOVE)

    async def resume(self, name: str) -> bool:
        """Have a worker that rests take tasks again; whether it does."""
        return await self._told(name, "aios_resume", _MOVE)

    async def _told(self, name: str, what: str, seconds: float) -> bool:
        ws = self.worker(name)
        if ws is None:
            return False
        try:
            await self._ask(ws, what, seconds)
        except (OSError, TimeoutError) as error:
            log.warning("worker %s does not answer (%r)", name, error)
            return False
        return True

    async def _ask(self, ws: WorkerState, what: str, seconds: float) -> Any:
        """Raises OSError where the worker is gone, TimeoutError where it does not answer."""
        async with asyncio.timeout(seconds):
            return await getattr(self._scheduler.rpc(ws.address), what)()
