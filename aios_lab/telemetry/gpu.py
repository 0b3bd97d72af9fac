"""Accelerators as NVML sees them. Where there is no NVML or no device, every answer is empty."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

log = logging.getLogger(__name__)

PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device now. Memory in bytes, utilisation in percent, power in watts; None where NVML is silent."""

    index: int
    name: str
    uuid: str
    memory: int
    memory_used: int | None = None
    utilization: float | None = None
    power: float | None = None


class Hardware(Protocol):
    """What there is to measure; this module is one."""

    def gpus(self) -> list[Gpu]: ...

    def holders(self) -> dict[int, int]: ...


_nvml: ModuleType | None = None
_absent = False


def gpus() -> list[Gpu]:
    """All devices in NVML's order, which is the PCI order. The first call loads NVML."""
    nvml = _load()
    if nvml is None:
        return []
    found = (_read_living(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    return [gpu for gpu in found if gpu is not None]


def holders() -> dict[int, int]:
    """Bytes of memory that each process holds on all devices together, as NVML counts them.

    Without processes of which NVML does not say it. Their numbers are the host's: in a container with numbers
    of its own nobody is found by them.
    """
    nvml = _load()
    if nvml is None:
        return {}
    held: dict[tuple[int, int], int] = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        for kind in ("Compute", "Graphics"):  # one that is of both kinds is listed twice, with all it holds
            for process in _running(nvml, index, kind):
                if process.usedGpuMemory is not None:
                    key = index, process.pid
                    held[key] = max(held.get(key, 0), process.usedGpuMemory)
    return summed(held)


def summed(held: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Bytes by process, of bytes by device and process."""
    by_process: Counter[int] = Counter()
    for (_, pid), used in held.items():
        by_process[pid] += used
    return dict(by_process)


def attributed(held: Mapping[int, int], groups: Mapping[str, Iterable[int]]) -> dict[str, int]:
    """Bytes that each group of processes holds, of bytes by process; without groups that hold nothing."""
    sums = {name: sum(held.get(pid, 0) for pid in set(pids)) for name, pids in groups.items()}
    return {name: used for name, used in sums.items() if used}


def links() -> dict[int, tuple[int, ...]]:
    """By device, the others that it reaches over NVLink, directly or through a switch."""
    nvml = _load()
    if nvml is None:
        return {}
    handles = {gpu.index: nvml.nvmlDeviceGetHandleByIndex(gpu.index) for gpu in gpus()}
    return {
        one: tuple(other for other in handles if other != one and _linked(nvml, handles[one], handles[other]))
        for one in handles
    }


def numa_nodes() -> dict[int, int]:
    """By device, its NUMA node; without those of which the system does not say it."""
    nvml = _load()
    if nvml is None:
        return {}
    buses = {gpu.index: _bus(nvml, gpu.index) for gpu in gpus()}
    found = {index: numa_node(bus) for index, bus in buses.items() if bus}
    return {index: node for index, node in found.items() if node is not None}


def numa_node(bus: str, devices: Path = PCI) -> int | None:
    """The NUMA node of a device that NVML calls 00000000:C1:00.0 and Linux 0000:c1:00.0; None where the
    system does not know it, which it writes as -1."""
    domain, _, rest = bus.lower().partition(":")
    try:
        node = int((devices / f"{domain[-4:]}:{rest}" / "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def _running(nvml: ModuleType, index: int, kind: str) -> list[Any]:
    """NVML's list of processes on a device; empty where it cannot say it."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        found: list[Any] = getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses")(handle)
    except nvml.NVMLError:
        return []
    return found


def _bus(nvml: ModuleType, index: int) -> str:
    """Empty where NVML cannot say it."""
    try:
        bus = nvml.nvmlDeviceGetPciInfo(nvml.nvmlDeviceGetHandleByIndex(index)).busId
    except nvml.NVMLError:
        return ""
    return bus.decode() if isinstance(bus, bytes) else str(bus)


def _linked(nvml: ModuleType, one: object, other: object) -> bool:
    """False also where NVML cannot say it."""
    try:
        status = nvml.nvmlDeviceGetP2PStatus(one, other, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
    except nvml.NVMLError:
        return False
    return bool(status == nvml.NVML_P2P_STATUS_OK)


def _load() -> ModuleType | None:
    """NVML, initialised; tried once, since a driver does not appear while a server runs."""
    global _nvml, _absent
    if _nvml is None and not _absent:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            log.debug("no accelerators: %s", error)
            _absent = True
        else:
            _nvml = pynvml
    return _nvml


def _optional(nvml: ModuleType, ask: Callable[[], float]) -> float | None:
    """What a device may not support, such as power on some virtual ones."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _read_living(nvml: ModuleType, index: int) -> Gpu | None:
    """None for a device that NVML counts but cannot read, such as one that fell off the bus."""
    try:
        return _read(nvml, index)
    except nvml.NVMLError as error:
        log.warning("accelerator %d cannot be read: %s", index, error)
        return None


def _read(nvml: ModuleType, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory=memory.total,
        memory_used=memory.used,
        utilization=_optional(nvml, lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        power=_optional(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    )
