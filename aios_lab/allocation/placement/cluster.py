"""Machines under a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aios_lab.allocation.placement.affinity import Topology
from aios_lab.allocation.placement.machines import Machine, Task
from aios_lab.allocation.placement.ranking import Devices, Option, Ranking
from aios_lab.allocation.placement.rules import NOTHING_KNOWN, Rule


class Cluster:
    """Free room by machine, down to its devices."""

    def __init__(
        self, machines: Sequence[Machine], rule: Rule, topologies: Mapping[int, Topology] | None = None
    ) -> None:
        """``topologies`` by the number of the machine, where it is known which devices belong together."""
        self.machines = [*machines]
        self._rule = rule
        self._topologies = topologies or {}
        self._ranking: Ranking[Task] = Ranking(len(self.machines), self._option)

    def _option(self, number: int, task: Task) -> Option | None:
        return self._rule.best(self.machines[number], task, self._topologies.get(number, NOTHING_KNOWN))

    def best(self, task: Task) -> tuple[int, Devices] | None:
        """The machine that the rule takes, and its devices; none where the task fits nowhere."""
        return self._ranking.best(task)

    def put(self, number: int, machine: Machine) -> None:
        """Set what is free on a machine."""
        self.machines[number] = machine
        self._ranking.changed(number)

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
