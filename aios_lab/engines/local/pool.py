"""Spare slices: a scheduler and its workers, up and connected, that nobody owns yet.

A grant is carried out by handing one over, and another takes its place in the background. Its credentials
have been given to nobody before, so that it is as much apart from others as a slice that was opened anew.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aios_lab.engines.base import EngineError
from aios_lab.engines.local import orders
from aios_lab.engines.local.budget import affordable
from aios_lab.engines.local.handle import SliceHandle, ended_on_failure
from aios_lab.engines.pauses import pause

log = logging.getLogger(__name__)

_REMEMBERED = 8  # grants, the most frequent of which is typical
_SETTLE = 1.0  # seconds after a grant in which its owner has the machine for himself
_LOOK = 10.0  # seconds between two looks at the memory
_LONGEST_PAUSE = 60.0  # seconds between two tries where spares cannot be opened


@dataclass(frozen=True, slots=True)
class Size:
    """What a slice is granted: so many workers of a shape."""

    shape: orders.Shape
    workers: int


class Pool:
    """``size`` spares of the size that is granted most often; fewer, or none, when memory is short.

    A spare on accelerators would hold them: grants of those are always carried out anew.
    """

    def __init__(self, size: int, open_spare: Callable[[str, Pool], Awaitable[SliceHandle]]) -> None:
        """``open_spare`` opens a slice of this id that belongs to the pool, without workers."""
        self.hits = self.misses = 0  # how often a grant found a spare of its shape, and how often not
        self._size = size
        self._granted: deque[Size] = deque(maxlen=_REMEMBERED)
        self._open_spare = open_spare
        self._spares: dict[SliceHandle, Size] = {}
        self._changed = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    @property
    def spares(self) -> tuple[SliceHandle, ...]:
        """Those that can be handed over now."""
        return tuple(self._spares)

    def start(self) -> None:
        """Begin to fill; ``stop`` ends all spares."""
        if self._size:
            self._filling = asyncio.create_task(self._fill())

    async def stop(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait({self._filling})
        await self._end(*self._spares)

    def expect(self, size: Size) -> None:
        """A slice of this size counts as granted; nothing is expected of one that has accelerators."""
        if size.workers and not size.shape.devices:
            self._granted.append(size)
            self._changed.set()

    def take(self, size: Size) -> SliceHandle | None:
        """A spare of this shape, the one whose number of workers is nearest; None where there is none."""
        if not self._size or size.shape.devices or not size.workers:
            return None
        self.expect(size)
        fitting = [spare for spare, its in self._spares.items() if its.shape == size.shape]
        found = min(fitting, key=lambda spare: abs(self._spares[spare].workers - size.workers), default=None)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
            del self._spares[found]
        return found

    @property
    def _typical(self) -> Size | None:
        """The size that was granted most often lately; of equally frequent ones the latest."""
        counts = Counter(self._granted)
        latest = {size: place for place, size in enumerate(self._granted)}
        return max(counts, key=lambda size: (counts[size], latest[size]), default=None)

    async def _fill(self) -> None:
        failures = 0
        while True:
            self._changed.clear()
            try:
                await self._step()
                failures = 0
            except EngineError as error:
                failures += 1
                log.warning("a spare slice could not be opened: %s", error)
            await asyncio.sleep(pause(failures, _LONGEST_PAUSE, first=2.0))
            if not failures:
                await self._until_changed()
                await asyncio.sleep(_SETTLE)

    async def _until_changed(self) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _step(self) -> None:
        """End spares of a size that is no longer typical, and those that memory is short for; open others."""
        typical = self._typical
        if typical is None:
            return
        wanted = min(self._size, affordable(1 + typical.workers, len(self._spares)))
        others = [spare for spare, size in self._spares.items() if size != typical]
        surplus = [spare for spare in self._spares if spare not in others][wanted:]
        await self._end(*others, *surplus)
        while len(self._spares) < wanted:
            await self._open(typical)

    async def _open(self, size: Size) -> None:
        spare = await self._open_spare(f"spare-{secrets.token_hex(4)}", self)
        async with ended_on_failure(spare):
            await spare.scale(orders.Scale(size.shape, size.workers))
            await spare.adopt(spare.slice_id, self)  # from now on its scheduler has lines to its workers
        self._spares[spare] = size

    async def _end(self, *spares: SliceHandle) -> None:
        for spare in spares:
            self._spares.pop(spare, None)
        await asyncio.gather(*(spare.close() for spare in spares))

    # --- what a spare tells by itself ----------------------------------------------------------------------

    def handle_changed(self, handle: SliceHandle) -> None:
        """Nobody looks at the workers of a spare."""

    def handle_computing(self, handle: SliceHandle) -> None:
        """Nobody has its credentials: it never does."""

    def handle_fenced(self, handle: SliceHandle, workers: int, tasks: int) -> None:
        """A spare is never shrunk."""

    def handle_troubled(self, handle: SliceHandle, what: str) -> None:
        log.warning("a spare slice: %s", what)

    def handle_told(self, handle: SliceHandle, *_: object) -> None:
        """Nobody has its credentials: nothing speaks there."""

    def handle_lost(self, handle: SliceHandle, why: str) -> None:
        if self._spares.pop(handle, None) is not None:
            log.warning("a spare slice is lost: %s", why)
            self._changed.set()
