"""What a rank uses: processor, memory, accelerator, and energy where somebody measures it.

Energy comes from the counters of NVML and RAPL. A host has one processor counter for all that runs there, so
only the first rank of a host reads it; where it cannot be read, as in most containers, no energy is told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import psutil

_T = TypeVar("_T")

FIRST, INTERVAL = 1.0, 5.0  # seconds until a rank is first measured, and from then on
POWERCAP = Path("/sys/class/powercap")


class Meter:
    """Measures one rank's process with its children, each time since the last time."""

    def __init__(self, pid: int, local_rank: int, powercap: Path = POWERCAP) -> None:
        self._pid = pid
        self._processes: dict[int, psutil.Process] = {}
        self._device = Device.of(local_rank)
        self._counters: list[Device | Package] = [] if self._device is None else [self._device]
        if local_rank == 0:
            self._counters += packages(powercap)
        self._before = self._joules()
        self._due = time.monotonic() + FIRST

    def due(self) -> bool:
        """Whether it is time to measure again."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + INTERVAL
        return True

    def measure(self) -> dict[str, Any]:
        """The fields of ``wire.RankUsage`` but for the rank."""
        cpu, memory = self._processor()
        device = self._device
        return {
            "time": time.time(),
            "cpu": cpu,
            "memory": memory,
            "gpu": None if device is None else device.utilization(),
            "gpu_memory": None if device is None else device.memory(),
            "joules": self._used(),
        }

    def _processor(self) -> tuple[float, int]:
        """Percent of one CPU thread since the last time, and bytes; of the rank and all that it started."""
        cpu, memory = 0.0, 0
        living: dict[int, psutil.Process] = {}
        for process in self._family():
            try:
                process = self._processes.get(process.pid, process)
                cpu += process.cpu_percent()  # 0.0 at the first time, by psutil's rule
                memory += process.memory_info().rss
                living[process.pid] = process
            except psutil.Error:  # it has just ended
                continue
        self._processes = living
        return cpu, memory

    def _family(self) -> list[psutil.Process]:
        try:
            rank = psutil.Process(self._pid)
            return [rank, *rank.children(recursive=True)]
        except psutil.Error:
            return []

    def _joules(self) -> list[float | None]:
        """What each counter says, in the same order each time."""
        return [counter.joules() for counter in self._counters]

    def _used(self) -> float | None:
        before, self._before = self._before, self._joules()
        # A counter that began anew says less than before: what it used meanwhile nobody knows.
        used = [
            now - then
            for then, now in zip(before, self._before, strict=True)
            if then is not None and now is not None and now >= then
        ]
        return sum(used) if used else None


class Device:
    """The accelerator of a rank, as NVML knows it."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def of(cls, local_rank: int) -> Device | None:
        """The rank's device: the only one that its worker sees, else the one of its number; None without."""
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        if not visible and "CUDA_VISIBLE_DEVICES" in os.environ:
            return None  # the worker is to use none
        try:
            import pynvml
        except ImportError:  # a worker of another cluster may lack it
            return None
        try:
            pynvml.nvmlInit()
            if visible and not visible[0].isdigit():
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(visible[0]))
            index = int(visible[0]) if visible else local_rank
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index))
        except pynvml.NVMLError:
            return None

    def utilization(self) -> float | None:
        """Percent."""
        return self._ask(lambda: float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu))

    def memory(self) -> int | None:
        """Bytes that all processes hold on it."""
        return self._ask(lambda: int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used))

    def joules(self) -> float | None:
        """Since the driver was loaded."""
        return self._ask(lambda: float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000)

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        try:
            return question()
        except self._nvml.NVMLError:  # not every device can say everything
            return None


class Package:
    """The energy counter of one processor package."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"

    def joules(self) -> float | None:
        """Since some time; it begins anew now and then. None where it cannot be read."""
        try:
            return int(self._file.read_text()) / 1e6
        except (OSError, ValueError):
            return None


def packages(powercap: Path = POWERCAP) -> list[Package]:
    """The counters of this host's processor packages; their parts, which they contain, left out."""
    return [
        Package(folder) for folder in sorted(powercap.glob("intel-rapl:*")) if folder.name.count(":") == 1
    ]
