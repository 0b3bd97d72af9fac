"""The engine's hold on one forkserver, from its start until nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from aios_lab.engines import spawn
from aios_lab.engines.local.launch import launch
from aios_lab.engines.processes import EngineId, said, sweep

log = logging.getLogger(__name__)

_WARM_UP = 120.0  # seconds that importing torch and distributed may take
_LEAVE = 10.0  # seconds the forkserver may take to end everything by itself
_AGAIN = 1.0  # seconds between two tries while no descriptor is left: nothing tells when there is one


class Warm:
    """A running forkserver. ``ended`` is set when it and all its processes are gone, for whatever reason."""

    def __init__(self, log: Path, on_ended: Callable[[], None], preload: Sequence[str] = ()) -> None:
        """Start it; returns at once. ``on_ended`` is called on the loop unless ``stop`` was called before.

        Raises:
            OSError: no process or descriptor is left for it.
        """
        self.engine = EngineId.mine()
        self.ended = asyncio.Event()
        self._dead = asyncio.Event()
        channel, self._process = launch(self.engine, log, preload)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            channel.close()  # it ends with this
            raise
        self.spawner = spawn.Spawner(channel)
        spawn.connect(self.spawner)
        self._first_answer: asyncio.Task[dict[int, int]] | None = None
        self._on_ended: Callable[[], None] | None = on_ended
        self._death = asyncio.create_task(self._until_dead())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def warmed(self) -> bool:
        """Whether it once answered, so that its end is no fault of its start."""
        asked = self._first_answer
        return asked is not None and asked.done() and not asked.cancelled() and asked.exception() is None

    async def dies(self, seconds: float) -> bool:
        """Whether its process is dead within so many seconds: a broken pipe is seen before its end is."""
        try:
            async with asyncio.timeout(seconds):
                await self._dead.wait()
        except TimeoutError:
            return False
        return True

    async def ready(self) -> None:
        """Return when it has imported everything and answers.

        Raises:
            SpawnError: it ended before.
        """
        if self._first_answer is None:
            self._first_answer = asyncio.create_task(asyncio.to_thread(self.spawner.family, _WARM_UP))
        await asyncio.shield(self._first_answer)

    async def stop(self) -> None:
        """End it and everything it started; on return nothing is left."""
        self._on_ended = None
        if not self.warmed:
            self._process.kill()  # still importing: it would hear of nothing for seconds, and has no children
        self._hang_up()
        done, _ = await asyncio.wait({self._death}, timeout=_LEAVE)
        if not done:
            self._process.kill()
            await self._death

    async def _until_dead(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._dead.set)
        try:
            await self._dead.wait()
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._process.wait()
        self._hang_up()
        await self._sweep()
        self.ended.set()
        if self._on_ended is not None:
            self._on_ended()

    async def _sweep(self) -> None:
        while True:
            try:
                await asyncio.to_thread(sweep, self.engine)
                return
            except OSError as error:
                log.warning("what the forkserver left cannot be looked for: %s", said(error))
                await asyncio.sleep(_AGAIN)

    def _hang_up(self) -> None:
        spawn.disconnect(self.spawner)
        self.spawner.close()
