"""What this machine has to give, or what an administrator declared in its place."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from aios_lab.allocation.placement import Topology
from aios_lab.allocation.types import Node, Resources
from aios_lab.engines.base import Accelerator, EngineError, Inventory
from aios_lab.telemetry.gpu import Gpu, gpus, links, numa_nodes

log = logging.getLogger(__name__)

_FIELDS = ("cpus", "memory", "gpus", "gpu_memory")
_DEFAULT_GPU_MEMORY = 16 << 30  # bytes of a declared accelerator
_UNITS = {"": 1} | {
    name: base**power
    for power, letter in enumerate("KMGT", start=1)
    for name, base in ((letter, 1000), (letter + "B", 1000), (letter + "I", 1024), (letter + "IB", 1024))
}
_MIB = 1 << 20


def measured() -> Inventory:
    """What this process may use, less a reserve of memory for the server itself: 10 %, at least 1 GiB."""
    total = min([psutil.virtual_memory().total, *_cgroup_memory()])
    memory = total - max(1 << 30, total // 10)
    devices = visible(gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return _inventory(
        cpu=int(_cpus() * 1000),
        memory=memory,
        accelerators=tuple(Accelerator(gpu.index, gpu.name, gpu.uuid, gpu.memory // _MIB) for gpu in devices),
        simulated=False,
        topology=Topology(links(), numa_nodes()),
    )


def visible(found: Sequence[Gpu], setting: str | None) -> list[Gpu]:
    """The devices that CUDA_VISIBLE_DEVICES leaves to this process: all where it is not set.

    As in CUDA it has numbers or beginnings of UUIDs, and ends at the first that is no device; numbers are
    NVML's, which are those of nvidia-smi.
    """
    if setting is None:
        return list(found)
    chosen: set[int] = set()
    for name in filter(None, map(str.strip, setting.split(","))):
        named = [gpu.index for gpu in found if _is_named(gpu, name)]
        if len(named) != 1:
            log.warning("CUDA_VISIBLE_DEVICES=%s: %s is no accelerator of this machine", setting, name)
            break
        chosen.update(named)
    return [gpu for gpu in found if gpu.index in chosen]


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.isdecimal():
        return gpu.index == int(name)
    return name.startswith("GPU-") and gpu.uuid.startswith(name)


def declared(amounts: Mapping[str, float | int | str]) -> Inventory:
    """A simulated inventory: ``cpus``, ``memory``, ``gpus``, ``gpu_memory`` (of each; bytes or "16GB").

    What is left out is as measured, and no accelerators.

    Raises:
        EngineError: an unknown name, or an amount that is no positive number.
    """
    unknown = sorted(set(amounts) - set(_FIELDS))
    if unknown:
        raise EngineError(
            f"The declared inventory has {', '.join(unknown)}; it may have {', '.join(_FIELDS)}."
        )
    here = measured().nodes[0].capacity
    count = int(_amount("gpus", amounts.get("gpus", 0)))
    each = int(_amount("gpu_memory", amounts.get("gpu_memory", _DEFAULT_GPU_MEMORY))) // _MIB
    return _inventory(
        cpu=int(_amount("cpus", amounts["cpus"]) * 1000) if "cpus" in amounts else here.cpu,
        memory=int(_amount("memory", amounts["memory"])) if "memory" in amounts else here.memory * _MIB,
        accelerators=tuple(
            Accelerator(index, "simulated", f"simulated-{index}", each) for index in range(count)
        ),
        simulated=True,
        topology=Topology(),
    )


def _inventory(
    cpu: int, memory: int, accelerators: tuple[Accelerator, ...], simulated: bool, topology: Topology
) -> Inventory:
    capacity = Resources(
        cpu=cpu,
        memory=memory // _MIB,
        gpu=1000 * len(accelerators),
        gpu_memory=sum(accelerator.memory for accelerator in accelerators),
    )
    return Inventory((Node(socket.gethostname(), capacity),), accelerators, simulated, topology)


def _amount(name: str, value: float | int | str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(value))
    factor = _UNITS.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise EngineError(
            f"The declared inventory says {name} = {value!r}, which is no amount: "
            "write a number, for memory also like '16GB' or '512MiB'."
        )
    return float(match[1]) * float(factor)


def _cpus() -> float:
    """CPU threads: those this process may run on, within its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return min(allowed, int(quota) / int(period)) if quota.isdigit() else allowed


def _cgroup_memory() -> list[int]:
    limit = _cgroup("memory.max")
    return [int(limit)] if limit.isdigit() else []


def _cgroup(name: str) -> str:
    """A setting of the control group that a container sees as its root; empty where there is none."""
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return ""
