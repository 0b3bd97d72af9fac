"""Fragments of GPUs: what is free and yet of no use to the tasks that are to be expected.

Source: Weng, Yang, Yu, Wang, Tang, Yang, Zhang, "Beware of Fragmentation: Scheduling GPU-Sharing Workloads
with Fragmentation Gradient Descent", USENIX ATC 2023, section 3.2 for the measure, 4 for its descent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping

from aios_lab.allocation.placement.machines import Machine, Task
from aios_lab.allocation.types import Resources

# The part of all tasks that the typical ones are, as in the paper's experiments.
COVERAGE = 0.95
# Machines whose fragments are kept at hand.
KEPT = 200_000


def typical_units(
    asked: Iterable[tuple[Resources, int]], coverage: float = COVERAGE
) -> tuple[tuple[Resources, int], ...]:
    """The most popular units that together make this part of all, each with its number; equal ones in the
    order of their amounts. What ``Placement.expected`` takes."""
    counted: Counter[Resources] = Counter()
    for unit, count in asked:
        counted[unit] += count
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0].vector))
    missing = coverage * sum(count for _, count in ranked)
    chosen = []
    for unit, count in ranked:
        if missing <= 0:
            break
        chosen.append((unit, count))
        missing -= count
    return tuple(chosen)


class Workload:
    """A target workload M: which tasks are to be expected, and how many of each of them.

    F_n(M) = Σ_m p_m F_n(m), p_m the popularity of task m, where of the free GPU of machine n

    - all is a fragment for m, F_n(m) = Σ_g R_g, if m cannot run there now or asks for no GPU;
    - else that of the devices too small for it, F_n(m) = Σ_g R_g [R_g < min(D_m, 1)].
    """

    def __init__(self, popularity: Mapping[Task, int]) -> None:
        """
        Raises:
            ValueError: a count is not positive.
        """
        for task, count in popularity.items():
            if count <= 0:
                raise ValueError(f"{task} is expected {count} times: leave it out, or give 1 or more.")
        self.popularity = dict(sorted(popularity.items()))
        self.total = sum(self.popularity.values())
        self._groups: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for task, count in self.popularity.items():
            group = self._groups.setdefault((task.devices, task.part), [])
            group.append((task.cpu, task.memory, count))
        self._cpus = sorted({task.cpu for task in self.popularity})
        self._memories = sorted({task.memory for task in self.popularity})
        self._known: dict[tuple[int, int, tuple[int, ...]], int] = {}

    @classmethod
    def of(cls, expected: Iterable[tuple[Resources, int]]) -> Workload:
        """Units as tasks, and how many of each are expected."""
        popularity: Counter[Task] = Counter()
        for unit, count in expected:
            popularity[Task.of(unit)] += count
        return cls(popularity)

    def fragmentation(self, machine: Machine) -> float:
        """F_n(M) in milli-GPU; of a workload without tasks everything free is a fragment."""
        return self.fragments(machine) / self.total if self.total else float(machine.gpu)

    def fragments(self, machine: Machine) -> int:
        """F_n(M) times the number of tasks, exactly."""
        devices = tuple(sorted(machine.devices))
        cpus, memories = bisect_right(self._cpus, machine.cpu), bisect_right(self._memories, machine.memory)
        state = cpus, memories, devices
        if (known := self._known.get(state)) is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            known = self._known[state] = self._count(machine)
        return known

    def _count(self, machine: Machine) -> int:
        free = machine.gpu
        fragments = free * self.total
        for (devices, part), tasks in self._groups.items():
            able = [room for room in machine.devices if room >= part]
            if devices and len(able) >= devices:
                running = sum(
                    n for cpu, memory, n in tasks if cpu <= machine.cpu and memory <= machine.memory
                )
                fragments -= running * sum(able)
        return fragments
