"""The newest measurement of what slices and accelerators use, laid over what the broker knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from aios_lab.broker.errors import Refused
from aios_lab.engines.processes import tree
from aios_lab.models.tables import size
from aios_lab.telemetry import gpu
from aios_lab.telemetry.gpu import Gpu, Hardware, attributed
from aios_lab.telemetry.sampler import Sampler, Usage
from aios_lab.wire import Accelerator, Cluster, Slice

STALE = 5.0  # seconds after which a measurement says nothing about now


class Use:
    """``processes`` gives the living processes of each slice, ``kernels`` the process of its owner; they are
    called on the event loop."""

    def __init__(
        self,
        processes: Callable[[], Mapping[str, Sequence[int]]],
        kernels: Callable[[], Mapping[str, int]],
        hardware: Hardware = gpu,
    ) -> None:
        self.hardware = hardware
        self._processes = processes
        self._kernels = kernels
        self._held: dict[str, int] = {}  # bytes of accelerators' memory by slice, of its kernel
        self._asking: dict[str, str] = {}  # by slice, who asks for that memory
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
            await asyncio.to_thread(self._sample, self._processes(), self._kernels())
            self._measured = time.monotonic()

    def _sample(self, slices: Mapping[str, Sequence[int]], kernels: Mapping[str, int]) -> None:
        if self._sampler is None:
            self._sampler = Sampler()
        self._slices = self._sampler.sample(slices)
        self._gpus = {one.uuid: one for one in self.hardware.gpus()}
        held = self.hardware.holders()
        trees = {slice_id: tree(pid) for slice_id, pid in kernels.items()} if held else {}
        self._held = attributed(held, trees)
        self._asking = {slice_id: who for slice_id, who in self._asking.items() if slice_id in self._held}

    async def ask(self, slice_id: str, who: str) -> None:
        """Ask the slice's owner, until it is done, to free the accelerators' memory that its kernel holds.

        Raises:
            Refused: it holds none (409 'holds_nothing').
        """
        await self.measure()
        if slice_id not in self._held:
            raise Refused(
                409,
                f"The kernel of slice {slice_id} holds no GPU memory.",
                "holds_nothing",
                "The cluster's section of the panel shows how much of each device is used.",
            )
        self._asking[slice_id] = who

    def on_slice(self, one: Slice) -> Slice:
        if self.age >= STALE:
            return one
        seen: dict[str, object] = {"kernel_gpu_memory": self._held.get(one.id, 0)}
        usage = self._slices.get(one.id)
        if usage is not None and one.mine:
            threads = one.unit.cpus * max(one.workers, 1)
            percent = min(100.0, round(100 * usage.cpus / threads, 1)) if threads else None
            seen |= {"cpu_percent": percent, "memory_used": usage.memory}
        if one.mine:
            seen["asked_to_free"] = self._asked(one)
        return one.model_copy(update=seen)

    def _asked(self, one: Slice) -> str:
        who, held = self._asking.get(one.id), self._held.get(one.id)
        if who is None or held is None:
            return ""
        asks = "You are asked" if who == one.user else f"{who} asks you"
        return (
            f"{asks} to free {size(held)} of GPU memory that this notebook's kernel holds: delete what is "
            "there (del), then call torch.cuda.empty_cache(), or restart the kernel."
        )

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
