"""Which slices do nothing: their kernels run no cell, no task runs or waits, no accelerator is in use."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from aios_lab.broker.slices import Slice
from aios_lab.engines.base import Engine
from aios_lab.telemetry.gpu import Gpu, gpus

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two looks at the accelerators


@dataclass(frozen=True, slots=True)
class Windows:
    """For how many seconds nothing has to happen before a slice lies idle: no cell of its kernel, no task,
    no use of its accelerators. All three count."""

    kernel: float = 60.0
    tasks: float = 60.0
    accelerators: float = 60.0


class Idleness:
    """What it is not told of counts as busy. All times are of ``time.monotonic``."""

    def __init__(self, engine: Engine, windows: Windows, look: Callable[[], Sequence[Gpu]] = gpus) -> None:
        """``look`` measures the accelerators now; a thread calls it."""
        self._engine = engine
        self._windows = windows
        self._look = look
        self._kernels: dict[str, float] = {}
        self._used: dict[str, float] = {}

    def kernel(self, slice_id: str, busy: bool) -> None:
        """The slice's kernel runs something now, or has done it all."""
        if busy:
            self._kernels.pop(slice_id, None)
        else:
            self._kernels.setdefault(slice_id, time.monotonic())

    def idle(self, one: Slice) -> bool:
        """Whether nothing happened for all the windows. A run that trains keeps its slice busy."""
        now, windows = time.monotonic(), self._windows
        kernel = self._kernels.get(one.id)
        if one.pins or kernel is None or now - kernel < windows.kernel:
            return False
        info = self._engine.info(one.id)
        if info is None:
            return True
        if info.quiet_since is None or now - info.quiet_since < windows.tasks:
            return False
        return not info.devices or now - self._used.setdefault(one.id, now) >= windows.accelerators

    async def watch(self, living: Callable[[], Iterable[str]]) -> None:
        """For ever: look at the accelerators of the slices that live."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look(set(living()))

    async def look(self, living: Collection[str]) -> None:
        """Note which slices use their accelerators now, and forget those that do not live. An accelerator
        that NVML says nothing of counts as used."""
        self._kernels = {name: since for name, since in self._kernels.items() if name in living}
        infos = [info for name in living if (info := self._engine.info(name)) is not None and info.devices]
        now = time.monotonic()
        self._used = {info.slice_id: self._used.get(info.slice_id, now) for info in infos}
        if infos:
            unused = await asyncio.to_thread(self._unused)
            now = time.monotonic()
            self._used |= {info.slice_id: now for info in infos if not unused >= {*info.devices}}

    def _unused(self) -> set[int]:
        """The accelerators that nobody uses now, by their index."""
        try:
            return {gpu.index for gpu in self._look() if gpu.utilization == 0}
        except Exception as error:  # a driver that fails is no reason to take anything from anybody
            log.warning("The use of accelerators could not be measured: %s", error)
            return set()
