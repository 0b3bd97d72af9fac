"""The newest measurement of what slices and accelerators use, laid over what the broker knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from aios_lab.telemetry.gpu import Gpu, gpus
from aios_lab.telemetry.sampler import Sampler, Usage
from aios_lab.wire import Accelerator, Cluster, Slice

STALE = 5.0  # seconds after which a measurement says nothing about now


class Use:
    """``processes`` gives the living processes of each slice; it is called on the event loop."""

    def __init__(self, processes: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self._processes = processes
        self._sampler: Sampler | None = None
        self._turn = asyncio.Lock()  # a sampler is not for several threads
        self._slices: dict[str, Usage] = {}
        self._gpus: dict[str, Gpu] = {}
        self._measured = float("-inf")

    @property
    def age(self) -> float:
        """Seconds since the newest measurement."""
        return time.monotonic() - self._measured

    async def measure(self) -> None:
        """Measure now. Reading /proc and NVML blocks, so a thread does it; it keeps its turn until it has
        ended, also when nobody waits for it any more.
        """
        await asyncio.shield(self._measure())

    async def _measure(self) -> None:
        async with self._turn:
            self._slices, self._gpus = await asyncio.to_thread(self._sample, self._processes())
            self._measured = time.monotonic()

    def _sample(self, groups: Mapping[str, Sequence[int]]) -> tuple[dict[str, Usage], dict[str, Gpu]]:
        if self._sampler is None:
            self._sampler = Sampler()
        return self._sampler.sample(groups), {one.uuid: one for one in gpus()}

    def on_slice(self, one: Slice) -> Slice:
        usage = self._slices.get(one.id) if self.age < STALE else None
        if usage is None or not one.mine:
            return one
        threads = one.unit.cpus * max(one.workers, 1)
        percent = min(100.0, round(100 * usage.cpus / threads, 1)) if threads else None
        return one.model_copy(update={"cpu_percent": percent, "memory_used": usage.memory})

    def on_cluster(self, cluster: Cluster) -> Cluster:
        if not self._gpus or self.age >= STALE:
            return cluster
        nodes = [
            node.model_copy(update={"accelerators": [self._on_accelerator(one) for one in node.accelerators]})
            for node in cluster.nodes
        ]
        return cluster.model_copy(update={"nodes": nodes})

    def _on_accelerator(self, one: Accelerator) -> Accelerator:
        now = self._gpus.get(one.uuid)
        if now is None:
            return one
        return one.model_copy(
            update={"memory_used": now.memory_used, "utilization": now.utilization, "power": now.power}
        )
