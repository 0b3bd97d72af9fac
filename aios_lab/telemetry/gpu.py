"""Accelerators as NVML sees them. Where there is no NVML or no device, every answer is empty."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

log = logging.getLogger(__name__)


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


_nvml: ModuleType | None = None
_absent = False


def gpus() -> list[Gpu]:
    """All devices in NVML's order, which is the PCI order. The first call loads NVML."""
    nvml = _load()
    if nvml is None:
        return []
    found = (_read_living(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    return [gpu for gpu in found if gpu is not None]


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
