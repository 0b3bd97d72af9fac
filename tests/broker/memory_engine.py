"""An engine whose slices are numbers: the whole ``Engine`` protocol, no processes.

It starts and ends workers as fast as the loop turns, or step by step while ``hold`` is set, and fails like a
real one when told so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aios_lab.allocation import Node, Resources
from aios_lab.engines.base import (
    GRACE,
    Accelerator,
    Credentials,
    EngineError,
    Inventory,
    Listener,
    SliceInfo,
    Spares,
)


class MemoryEngine:
    def __init__(self, threads: int = 2, gpus: int = 0) -> None:
        devices = tuple(Accelerator(i, "Test GPU", f"GPU-{i}", 16_384) for i in range(gpus))
        whole = Resources(threads * 1000, threads * 4096, gpus * 1000, gpus * 16_384)
        self._inventory = Inventory((Node("local", whole),), devices)
        self.open: dict[str, SliceInfo] = {}
        self.sizes: dict[str, Resources] = {}
        self.restarts: list[str] = []
        self.calls: list[tuple[str, int]] = []
        self.graces: list[tuple[float, str]] = []
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.broken = ""
        self.called = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    def hold(self) -> None:
        """From now on calls wait for ``go.set()``."""
        self.go.clear()

    async def start(self, listener: Listener) -> None:
        """What is open then outlived its broker, and the engine that served it."""
        self._listener = listener
        self._survivors = tuple(self.open)

    def survivors(self) -> tuple[str, ...]:
        return self._survivors

    async def stop(self, leave: Collection[str] = ()) -> None:
        self.open = {slice_id: info for slice_id, info in self.open.items() if slice_id in leave}

    def inventory(self) -> Inventory:
        return self._inventory

    def expect(self, unit: Resources, workers: int) -> None:
        return

    async def spares(self) -> dict[str, Spares]:
        return {}

    async def scale(
        self, slice_id: str, unit: Resources, workers: int, grace: float = GRACE, why: str = ""
    ) -> SliceInfo:
        self.graces.append((grace, why))
        self.calls.append((slice_id, workers))
        self.called.set()
        await self.go.wait()
        await asyncio.sleep(0)
        before = self.open.get(slice_id)
        if self.broken and workers > (before.workers if before else 0):
            raise EngineError(self.broken)
        keys = Credentials(f"ca {slice_id}", f"cert {slice_id}", f"key {slice_id}")
        quiet = before.quiet_since if before else 0.0
        address = f"tls://127.0.0.1/{slice_id}"
        devices = tuple(range(workers * unit.gpu // 1000))
        info = SliceInfo(slice_id, address, keys, workers, (), devices, quiet)
        self.open[slice_id] = info
        self.sizes[slice_id] = unit
        self._check_room()
        self._listener.workers_changed(slice_id, workers)
        return info

    async def restart(self, slice_id: str) -> None:
        if slice_id not in self.open:
            raise EngineError(f"Slice {slice_id} is not open.")
        self.restarts.append(slice_id)

    def tell(self, slice_id: str, message: Mapping[str, Any]) -> None:
        self.told.append((slice_id, message))

    async def dashboard(self, slice_id: str) -> Path:
        raise EngineError(f"Slice {slice_id} has no dashboard.")

    async def close(self, slice_id: str) -> None:
        await asyncio.sleep(0)
        self.open.pop(slice_id, None)

    def info(self, slice_id: str) -> SliceInfo | None:
        return self.open.get(slice_id)

    def kill(self, slice_id: str) -> None:
        """The slice's host dies."""
        del self.open[slice_id]
        self._listener.lost(slice_id, "The slice host was killed by signal 9.")

    def fence(self, slice_id: str, workers: int, tasks: int) -> None:
        """Workers had to be ended with their tasks."""
        self._listener.fenced(slice_id, workers, tasks)

    def compute(self, slice_id: str, computing: bool) -> None:
        """Tasks are submitted to the slice, or the last one has ended."""
        since = None if computing else time.monotonic()
        self.open[slice_id] = replace(self.open[slice_id], quiet_since=since)
        if computing:
            self._listener.computing(slice_id)

    def trouble(self, slice_id: str, what: str) -> None:
        self._listener.trouble(slice_id, what)

    def _check_room(self) -> None:
        used = sum((self.sizes[name] * info.workers for name, info in self.open.items()), Resources())
        assert used.fits_in(self._inventory.nodes[0].capacity), f"more was given than there is: {used}"
