"""The engine's hold on one forkserver, from its start until nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from aios_lab.engines import spawn
from aios_lab.engines.base import Spares
from aios_lab.engines.local.launch import launch
from aios_lab.engines.local.succession import knock
from aios_lab.engines.processes import EngineId, mark_of, said, sweep

log = logging.getLogger(__name__)

_WARM_UP = 120.0  # seconds that importing torch and distributed may take
_LEAVE = 10.0  # seconds the forkserver may take to end everything by itself
_AGAIN = 1.0  # seconds between two tries while no descriptor is left: nothing tells when there is one


class Warm:
    """A running forkserver. ``ended`` is set when it and all its processes are gone, for whatever reason."""

    def __init__(
        self, engine: EngineId, line: socket.socket, pid: int, on_ended: Callable[[], None] | None = None
    ) -> None:
        """``line`` is that to the forkserver ``pid``, whose processes bear the mark ``engine``. ``on_ended``
        is called on the loop unless ``stop`` or ``leave`` was called before."""
        self.engine = engine
        self.pid = pid
        self.ended = asyncio.Event()
        self.on_ended = on_ended
        self._pidfd = os.pidfd_open(pid)
        self._child: subprocess.Popen[bytes] | None = None
        self._dead = asyncio.Event()
        self._first_answer: asyncio.Task[dict[int, int]] | None = None
        self.spawner = spawn.Spawner(line)
        spawn.connect(self.spawner)
        self._death = asyncio.create_task(self._until_dead())

    @classmethod
    def launch(
        cls,
        log: Path,
        on_ended: Callable[[], None],
        preload: Sequence[str] = (),
        folder: Path | None = None,
        embryos: int = 0,
    ) -> Warm:
        """Start one; returns at once.

        Raises:
            OSError: no process or descriptor is left for it.
        """
        engine = EngineId.mine()
        line, process = launch(engine, log, preload, folder, embryos)
        try:
            warm = cls(engine, line, process.pid, on_ended)
        except OSError:
            line.close()
            process.kill()
            raise
        warm._child = process
        return warm

    @classmethod
    def left(cls, folder: Path) -> Warm | None:
        """The one that an earlier engine of this folder left; None where there is none."""
        found = knock(folder)
        if found is None:
            return None
        line, pid = found
        engine = mark_of(pid)
        try:
            return None if engine is None else cls(engine, line, pid)
        except ProcessLookupError:  # it ended just then
            return None

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

    async def inherit(self) -> list[tuple[spawn.Child, socket.socket]]:
        """The slice hosts that an earlier engine had kept, with their lines, when that engine is gone.

        Raises:
            SpawnError: it is not, or there is nothing any more.
        """
        heritage = await asyncio.to_thread(self.spawner.inherit)
        await self.ready()  # it has not ended meanwhile
        return heritage

    async def embryos(self) -> Spares:
        """The processes that it keeps ready; none while it is not warm."""
        if not self.warmed or self._dead.is_set():
            return Spares()
        try:
            return Spares(**await asyncio.to_thread(self.spawner.embryos))
        except spawn.SpawnError:  # it is ending
            return Spares()

    async def stop(self) -> None:
        """End it and everything it started; on return nothing is left."""
        self.on_ended = None
        if not self.warmed:
            self._kill()  # still importing: it would hear of nothing for seconds, and has no children
        self._hang_up()
        done, _ = await asyncio.wait({self._death}, timeout=_LEAVE)
        if not done:
            self._kill()
            await self._death

    async def leave(self) -> None:
        """Let go of it: what it was asked to keep goes on for a moment."""
        self._death.cancel()
        await asyncio.wait({self._death})
        self._hang_up()

    def _kill(self) -> None:
        if not self._dead.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _until_dead(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._dead.set)
        try:
            await self._dead.wait()
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._child is not None:
            self._child.wait()
        self._hang_up()
        await self._sweep()
        self.ended.set()
        if self.on_ended is not None:
            self.on_ended()

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
