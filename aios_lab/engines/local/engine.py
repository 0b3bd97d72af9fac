"""The local engine: slices on this machine, forked from one warm forkserver.

It lives in the Jupyter server's process and imports neither distributed nor torch there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aios_lab.allocation.placement import best_sets
from aios_lab.allocation.types import Resources
from aios_lab.engines import spawn
from aios_lab.engines.base import GRACE, EngineError, Inventory, Listener, SliceInfo, Spares
from aios_lab.engines.local import orders, strays
from aios_lab.engines.local.handle import SliceHandle, ended_on_failure
from aios_lab.engines.local.inventory import declared, measured
from aios_lab.engines.local.pool import Pool, Size
from aios_lab.engines.local.warm import Warm
from aios_lab.engines.pauses import pause
from aios_lab.engines.processes import said

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 60.0  # seconds between two tries where forkservers do not become warm
_AGAIN = 1.0  # seconds between two tries to start a forkserver when there is no descriptor or process for it


class LocalEngine:
    """An ``Engine`` for one machine.

    Args:
        inventory: amounts to simulate (see ``inventory.declared``); the machine's own when left out.
        runtime_dir: where the log and the workers' files go; a temporary folder when left out.
        preload: modules that every process of a slice has imported when it starts. They must start no
            threads and touch no GPU when imported.
        spares: slices that are kept ready for those who ask next (see ``pool``), while there is memory.
        max_processes: processes that a worker may be at once, with all that its tasks start (see ``limits``).
        spare_processes: processes that are kept ready for slices that grow (see ``embryos``), likewise.
        serves: a name for what it serves, such as the path of a ledger. When this process is killed the next
            engine of that name and runtime_dir takes its slices over (see ``succession``); without a name
            they end at once. Whoever gives one sees to it that there is one engine of it at a time.

    Raises:
        EngineError: the declared inventory makes no sense.
    """

    def __init__(
        self,
        inventory: Mapping[str, float | int | str] | None = None,
        runtime_dir: str | Path | None = None,
        preload: Sequence[str] = (),
        spares: int = 0,
        max_processes: int = 500,
        spare_processes: int = 0,
        serves: str = "",
    ) -> None:
        self._inventory = measured() if inventory is None else declared(inventory)
        self._runtime_dir = None if runtime_dir is None else Path(runtime_dir)
        self._preload = tuple(preload)
        self._embryos = spare_processes
        self._serves = serves
        self.pool = Pool(spares, self._open_spare)
        self._max_processes = max_processes
        self._slices: dict[str, SliceHandle] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._survivors: tuple[str, ...] = ()
        self._reserved: set[int] = set()
        self._warm: Warm | None = None
        self._cold_starts = 0

    def inventory(self) -> Inventory:
        return self._inventory

    def info(self, slice_id: str) -> SliceInfo | None:
        handle = self._slices.get(slice_id)
        return None if handle is None or not handle.report.address else handle.info

    @property
    def log(self) -> Path:
        """What slices print."""
        return (self._runtime_dir or self._folder) / "engine.log"

    async def start(self, listener: Listener) -> None:
        """See ``Engine.start``. Where nothing is to be taken over it begins to warm up and returns at once;
        the first ``scale`` waits until it is done."""
        self._listener = listener
        base = self._runtime_dir or Path(tempfile.gettempdir())
        self._folder = base / strays.folder_name(self._serves)
        await asyncio.to_thread(strays.reap, base)
        self._hold = await asyncio.to_thread(strays.hold, self._folder)
        try:
            self._warm = Warm.left(self._folder)
            if self._warm is None or not await self._inherit(self._warm):
                self.log.write_bytes(b"")
                self._warm_up()
        except BaseException:
            await asyncio.shield(self._undo_start())
            raise
        self.pool.start()

    async def _undo_start(self) -> None:
        warm, self._warm = self._warm, None
        self._slices, self._survivors = {}, ()
        if warm is not None:
            await warm.stop()
        os.close(self._hold)

    async def _inherit(self, warm: Warm) -> bool:
        """Take over what an earlier engine left; where that cannot be had, it is ended."""
        try:
            heritage = await warm.inherit()
            warm.on_ended = self._cooled
            found = await asyncio.gather(*(SliceHandle.inherit(*each, warm, self) for each in heritage))
        except (spawn.SpawnError, OSError, ValueError) as error:
            log.warning("what an earlier server left cannot be taken over: %s", error)
            await warm.stop()
            return False
        living = [handle for handle in found if handle is not None and not handle.ended.is_set()]
        self._slices = {handle.slice_id: handle for handle in living}
        self._survivors = tuple(self._slices)
        return True

    def survivors(self) -> tuple[str, ...]:
        """See ``Engine.survivors``."""
        return self._survivors

    async def stop(self, leave: Collection[str] = ()) -> None:
        """See ``Engine.stop``. Only what ``serves`` something can leave anything."""
        warm, self._warm = self._warm, None
        if warm is None:
            return
        left = [handle for name, handle in self._slices.items() if name in leave and self._serves]
        ended = [name for name, handle in self._slices.items() if handle not in left]
        await asyncio.gather(self.pool.stop(), *map(self.close, ended))
        if left:
            await asyncio.gather(*(handle.leave() for handle in left))
            await warm.leave()
        else:
            await warm.stop()
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        os.close(self._hold)

    async def scale(
        self, slice_id: str, unit: Resources, workers: int, grace: float = GRACE, why: str = ""
    ) -> SliceInfo:
        """See ``Engine.scale``."""
        async with self._lock(slice_id):
            handle = self._slices.get(slice_id)
            fresh = handle is None or handle.ended.is_set()
            if handle is None or fresh:
                handle = await self._take(slice_id, unit, workers) or await self._open(slice_id)
            handle.catch_up()
            try:
                await self._resize(handle, unit, workers, grace, why)
            except BaseException:
                if fresh:
                    await self._end(handle)
                raise
            return handle.info

    async def restart(self, slice_id: str) -> None:
        """See ``Engine.restart``.

        Raises:
            EngineError: there is no such slice, or its workers did not come back.
        """
        async with self._lock(slice_id):
            handle = self._slices.get(slice_id)
            if handle is None:
                raise EngineError(f"Slice {slice_id} is not open, so it cannot be restarted.")
            await handle.order("restart")

    async def dashboard(self, slice_id: str) -> Path:
        """See ``Engine.dashboard``."""
        handle = self._slices.get(slice_id)
        if handle is None:
            raise EngineError(f"Slice {slice_id} is not open, so it has no dashboard.")
        return await handle.dashboard()

    def tell(self, slice_id: str, message: Mapping[str, Any]) -> None:
        """See ``Engine.tell``."""
        if (handle := self._slices.get(slice_id)) is not None and handle.report.address:
            handle.tell(message)

    async def close(self, slice_id: str) -> None:
        """See ``Engine.close``. A ``scale`` under way fails."""
        handle = self._slices.get(slice_id)
        if handle is not None:
            await self._end(handle)
        async with self._lock(slice_id):
            handle = self._slices.get(slice_id)
            if handle is not None:
                await self._end(handle)
        self._locks.pop(slice_id, None)

    def _lock(self, slice_id: str) -> asyncio.Lock:
        return self._locks.setdefault(slice_id, asyncio.Lock())

    def _warm_up(self) -> None:
        if self._folder.is_dir():  # not stopped meanwhile
            folder = self._folder if self._serves else None
            self._warm = Warm.launch(self.log, self._cooled, self._preload, folder, self._embryos)

    def _cooled(self) -> None:
        """Start another at once, or after a growing pause when this one never became warm."""
        assert self._warm is not None
        self._cold_starts = 0 if self._warm.warmed else self._cold_starts + 1
        seconds = pause(self._cold_starts, _LONGEST_PAUSE)
        log.error("the forkserver ended, and all slices; another starts in %g s (see %s)", seconds, self.log)
        self._warm_up_after(seconds)

    def _warm_up_after(self, seconds: float) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._warm_up_after, 0.0)
            return
        try:
            self._warm_up()
        except OSError as error:
            log.error("no forkserver can be started: %s", said(error))
            self._warm_up_after(_AGAIN)

    def expect(self, unit: Resources, workers: int) -> None:
        """See ``Engine.expect``: the first spares are of this size."""
        self.pool.expect(self._size(unit, workers))

    async def spares(self) -> dict[str, Spares]:
        """See ``Engine.spares``."""
        slices = Spares(len(self.pool.spares), self.pool.hits, self.pool.misses)
        return {"slice": slices, "process": await self._warm.embryos() if self._warm else Spares()}

    def _size(self, unit: Resources, workers: int) -> Size:
        return Size(orders.Shape.of(unit, simulated=self._inventory.simulated), workers)

    async def _take(self, slice_id: str, unit: Resources, workers: int) -> SliceHandle | None:
        """A spare that is now this slice; None where there is none that could become it."""
        spare = self.pool.take(self._size(unit, workers))
        if spare is None:
            return None
        try:
            async with ended_on_failure(spare):
                await spare.adopt(slice_id, self)
        except EngineError as error:
            log.warning("a spare could not become slice %s: %s", slice_id, error)
            return None
        self._slices[slice_id] = spare
        self._let_outlive(spare)
        return spare

    async def _open_spare(self, spare_id: str, pool: Pool) -> SliceHandle:
        """
        Raises:
            EngineError: it did not start, or the engine has stopped.
        """
        handle = SliceHandle(dataclasses.replace(self._order(spare_id), spare=True), self._running(), pool)
        async with ended_on_failure(handle):
            await handle.start()
        return handle

    def _order(self, slice_id: str) -> orders.Open:
        from aios_lab.engines.local import tls

        folder = str(self._folder / slice_id)
        return orders.Open(slice_id, tls.issue(slice_id), folder, self._max_processes)

    async def _open(self, slice_id: str) -> SliceHandle:
        order, warm = self._order(slice_id), self._running()
        try:
            return await self._start(order, warm)
        except EngineError:
            if not await warm.dies(0.5):
                raise
        # Killed just now: its successor serves, unless it could not start at all.
        await warm.ended.wait()
        return await self._start(order, self._running())

    def _running(self) -> Warm:
        if self._warm is None:
            raise EngineError("The local engine is not running, so it cannot open a slice.")
        return self._warm

    async def _start(self, order: orders.Open, warm: Warm) -> SliceHandle:
        handle = SliceHandle(order, warm, self)
        self._slices[handle.slice_id] = handle
        try:
            await handle.start()
        except BaseException:
            await self._end(handle)
            raise
        self._let_outlive(handle)
        return handle

    def _let_outlive(self, handle: SliceHandle) -> None:
        if self._serves:
            handle.outlive()

    async def _resize(
        self, handle: SliceHandle, unit: Resources, workers: int, grace: float, why: str
    ) -> None:
        """Order the size, with devices for new workers; a slice of another shape gives its own up first.

        Devices that NVLink or a NUMA node joins go to the same worker and the same slice.
        """
        shape = orders.Shape.of(unit, simulated=self._inventory.simulated)
        if handle.shape not in (None, shape) and shape.devices * workers > len(self._free_devices()):
            await handle.scale(orders.Scale(shape, 0, (), grace, why))
        held = len(handle.report.devices) if handle.shape == shape else 0
        missing = max(0, shape.devices * workers - held)
        free = self._free_devices()
        if missing > len(free):
            raise EngineError(
                f"Slice {handle.slice_id} needs {missing} more accelerators, but only {len(free)} are free. "
                "Ask for fewer, or wait until others give theirs back."
            )
        beside = handle.report.devices if handle.shape == shape else []
        sets = missing // max(1, shape.devices)
        devices = best_sets(free, shape.devices, sets, self._inventory.topology, beside)
        self._reserved.update(devices)
        try:
            await handle.scale(orders.Scale(shape, workers, devices, grace, why))
        finally:
            self._reserved.difference_update(devices)

    def _free_devices(self) -> list[int]:
        held = {device for handle in self._slices.values() for device in handle.report.devices}
        taken = held | self._reserved
        return [gpu.index for gpu in self._inventory.accelerators if gpu.index not in taken]

    async def _end(self, handle: SliceHandle) -> None:
        await handle.close()
        if self._slices.get(handle.slice_id) is handle:
            del self._slices[handle.slice_id]

    def handle_changed(self, handle: SliceHandle) -> None:
        self._listener.workers_changed(handle.slice_id, handle.report.workers)

    def handle_computing(self, handle: SliceHandle) -> None:
        self._listener.computing(handle.slice_id)

    def handle_fenced(self, handle: SliceHandle, workers: int, tasks: int) -> None:
        self._listener.fenced(handle.slice_id, workers, tasks)

    def handle_troubled(self, handle: SliceHandle, what: str) -> None:
        self._listener.trouble(handle.slice_id, what)

    def handle_told(
        self, handle: SliceHandle, message: Mapping[str, Any], answer: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._listener.told(handle.slice_id, message, answer)

    def handle_lost(self, handle: SliceHandle, why: str) -> None:
        if self._slices.get(handle.slice_id) is handle:
            del self._slices[handle.slice_id]
        self._listener.lost(handle.slice_id, why)
