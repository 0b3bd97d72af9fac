"""Use of CPU and memory, by process tree; rates are since the last call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from aios_lab.engines.processes import proportional, resident, tree

_TRUSTED = 10.0  # seconds that a proportional measure stays good while the resident one hardly moves
_MOVED = 0.1  # share of the resident memory that counts as having moved


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU threads in use (1.0 is one thread kept busy since the last sample) and bytes of memory."""

    cpus: float
    memory: int


@dataclass(slots=True)
class _Process:
    """One process since it was first seen. ``cpu`` in seconds, memory in bytes."""

    handle: psutil.Process
    cpu: float
    at: float
    weighed: float = 0.0
    resident: int = 0
    proportional: int = 0


class Sampler:
    """Remembers the last sample, so that each call gives the rates since then. For one thread at a time."""

    def __init__(self) -> None:
        self._processes: dict[int, _Process] = {}

    def sample(self, groups: Mapping[str, Iterable[int]]) -> dict[str, Usage]:
        """Use of each group of process trees, such as a slice's ``SliceInfo.pids``.

        A process is seen with 0 CPU the first time. Memory that forked processes share is divided among them.
        """
        now = time.monotonic()
        alive: set[int] = set()
        result: dict[str, Usage] = {}
        for name, roots in groups.items():
            pids = {pid for root in roots for pid in tree(root)}
            alive |= pids
            cpus = sum(self._cpus(pid, now) for pid in pids)
            result[name] = Usage(cpus, sum(self._memory(pid, now) for pid in pids))
        self._processes = {pid: seen for pid, seen in self._processes.items() if pid in alive}
        return result

    def _cpus(self, pid: int, now: float) -> float:
        try:
            seen = self._processes.get(pid)
            if seen is None or not seen.handle.is_running():
                handle = psutil.Process(pid)
                self._processes[pid] = _Process(handle, _cpu_seconds(handle), now)
                return 0.0
            cpu = _cpu_seconds(seen.handle)
        except psutil.Error:  # it ended meanwhile
            return 0.0
        rate = (cpu - seen.cpu) / (now - seen.at) if now > seen.at else 0.0
        seen.cpu, seen.at = cpu, now
        return rate

    def _memory(self, pid: int, now: float) -> int:
        """Proportional memory, dear to measure, kept up to date by the resident one, which is cheap."""
        seen = self._processes.get(pid)
        if seen is None:
            return 0
        size = resident(pid)
        moved = abs(size - seen.resident)
        if now - seen.weighed > _TRUSTED or moved > _MOVED * seen.resident:
            seen.weighed, seen.resident, seen.proportional = now, size, proportional(pid)
            return seen.proportional
        return max(0, seen.proportional + size - seen.resident)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
