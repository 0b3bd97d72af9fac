"""A running local engine, seen from plain synchronous tests."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client

from aios_lab.allocation.types import Resources
from aios_lab.engines.base import Answer, SliceInfo
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.engines.local.nodes import security

UNIT = Resources(cpu=1000, memory=1024)


class Heard:
    """What an engine told of by itself."""

    def __init__(self) -> None:
        self.gone: dict[str, str] = {}
        self.workers: dict[str, int] = {}
        self.troubles: dict[str, str] = {}
        self.began: list[str] = []
        self.fences: dict[str, tuple[int, int]] = {}
        self.told_by: list[tuple[str, Mapping[str, Any]]] = []
        self.answers: Mapping[str, Any] | None = {}

    def lost(self, slice_id: str, why: str) -> None:
        self.gone[slice_id] = why

    def workers_changed(self, slice_id: str, workers: int) -> None:
        self.workers[slice_id] = workers

    def computing(self, slice_id: str) -> None:
        self.began.append(slice_id)

    def fenced(self, slice_id: str, workers: int, tasks: int) -> None:
        self.fences[slice_id] = workers, tasks

    def told(self, slice_id: str, message: Mapping[str, Any], answer: Answer) -> None:
        self.told_by.append((slice_id, message))
        if self.answers is not None:
            answer(self.answers)

    def trouble(self, slice_id: str, what: str) -> None:
        self.troubles[slice_id] = what


class Running:
    """An engine on an event loop of its own thread, and all that it reported."""

    def __init__(self, folder: Path, inventory: dict[str, Any] | None, **options: Any) -> None:
        self._ids = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.heard = Heard()
        self.engine = LocalEngine(inventory, folder, **options)
        self.call(self.engine.start(self.heard))

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    def expect(self, unit: Resources, workers: int) -> None:
        self._loop.call_soon_threadsafe(self.engine.expect, unit, workers)

    def scale(self, slice_id: str, workers: int, unit: Resources = UNIT, **how: Any) -> SliceInfo:
        return self.call(self.engine.scale(slice_id, unit, workers, **how))

    def tell(self, slice_id: str, message: Mapping[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self.engine.tell, slice_id, message)

    def close(self, slice_id: str) -> None:
        self.call(self.engine.close(slice_id))

    def info(self, slice_id: str) -> SliceInfo | None:
        return self.engine.info(slice_id)

    def pids(self, slice_id: str) -> tuple[int, ...]:
        info = self.info(slice_id)
        return () if info is None else info.pids

    def new_id(self) -> str:
        return f"s-{next(self._ids):08x}"

    def client(self, info: SliceInfo) -> Client:
        return Client(info.address, security=security(info.credentials), timeout=10)

    @contextmanager
    def slice(self, workers: int, unit: Resources = UNIT) -> Iterator[tuple[str, Client]]:
        """An open slice with a connected client; closed at the end."""
        slice_id = self.new_id()
        info = self.scale(slice_id, workers, unit)
        try:
            with self.client(info) as client:
                yield slice_id, client
        finally:
            self.close(slice_id)

    def stop(self, leave: Collection[str] = ()) -> None:
        self.call(self.engine.stop(leave))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
