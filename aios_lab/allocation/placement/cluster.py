"""Machines under a rule, with the best one for each kind of task kept at hand."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aios_lab.allocation.placement.affinity import Topology
from aios_lab.allocation.placement.machines import Machine, Task
from aios_lab.allocation.placement.rules import NOTHING_KNOWN, Cost, Devices, Rule


@dataclass(slots=True)
class _Ranking:
    """Machines by their cost for one task; entries of machines that changed since are passed over."""

    heap: list[tuple[Cost, int, int, Devices]] = field(default_factory=list)
    seen: int = 0


class Cluster:
    """Free room by machine. Asking again for a task costs only what changed since: O(changes · log n)."""

    def __init__(
        self, machines: Sequence[Machine], rule: Rule, topologies: Mapping[int, Topology] | None = None
    ) -> None:
        """``topologies`` by the number of the machine, where it is known which devices belong together."""
        self.machines = [*machines]
        self._rule = rule
        self._topologies = topologies or {}
        self._versions = [0] * len(self.machines)
        self._changed = [*range(len(self.machines))]
        self._rankings: dict[Task, _Ranking] = {}

    def best(self, task: Task) -> tuple[int, Devices] | None:
        """The machine that the rule takes, and its devices; none where the task fits nowhere."""
        ranking = self._rankings.setdefault(task, _Ranking())
        heap = ranking.heap
        for number in sorted(set(self._changed[ranking.seen :])):
            topology = self._topologies.get(number, NOTHING_KNOWN)
            if (option := self._rule.best(self.machines[number], task, topology)) is not None:
                heapq.heappush(heap, (option[0], number, self._versions[number], option[1]))
        ranking.seen = len(self._changed)
        while heap and heap[0][2] != self._versions[heap[0][1]]:
            heapq.heappop(heap)
        return (heap[0][1], heap[0][3]) if heap else None

    def put(self, number: int, machine: Machine) -> None:
        """Set what is free on a machine."""
        self.machines[number] = machine
        self._versions[number] += 1
        self._changed.append(number)

    def place(self, task: Task) -> tuple[int, Devices] | None:
        """Take room for the task where the rule says; where that was, none without room."""
        found = self.best(task)
        if found is not None:
            number, devices = found
            self.put(number, self.machines[number].take(task, devices))
        return found

    def leave(self, task: Task, number: int, devices: Devices) -> None:
        """The task that was placed there is gone."""
        self.put(number, self.machines[number].give(task, devices))
