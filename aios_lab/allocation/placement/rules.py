"""Which of the machines with room a task goes to, and on which of its devices: the least cost, exactly.

| rule | takes the machine | take it when |
|---|---|---|
| ``first`` | first by name | speed counts, and empty machines may sleep |
| ``pack`` | where the least is left (best fit) | large tasks are to find whole machines |
| ``spread`` | where the most is left (worst fit) | tasks slow each other down |
| ``fgd`` | whose fragments grow least (Weng et al., USENIX ATC 2023, section 4) | parts of GPUs are shared |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aios_lab.allocation.placement.affinity import Topology, best_set
from aios_lab.allocation.placement.fragmentation import Workload
from aios_lab.allocation.placement.machines import WHOLE, Machine, Task
from aios_lab.allocation.placement.ranking import Cost, Devices, Option

DEFAULT_PLACEMENT = "first"
# Parts of the largest machine are counted in millionths.
SCALE = 1_000_000
# Fragments in milli-GPU that count as equal: 1 % of a sigmoid of whole GPUs where it is steepest.
STEP = 40

NOTHING_KNOWN = Topology()


class Rule(ABC):
    """How a task is placed."""

    @abstractmethod
    def cost(self, machine: Machine, task: Task, devices: Devices) -> Cost:
        """What it costs to place the task there."""

    def choices(self, machine: Machine, task: Task, topology: Topology) -> Iterable[Devices]:
        """The sets of devices to compare: of equal cost the first is taken."""
        able = machine.able(task)
        if not task.devices:
            return ((),)
        if task.part == WHOLE:
            return (best_set(able, task.devices, topology),)
        return tuple((device,) for device in self.order(machine, able))

    def order(self, machine: Machine, able: Sequence[int]) -> Iterable[int]:
        """Devices for a part of one, the best first: one for each amount that is free."""
        return {machine.devices[device]: device for device in reversed(able)}.values()

    def best(self, machine: Machine, task: Task, topology: Topology = NOTHING_KNOWN) -> Option | None:
        """The least cost, and the devices for it; none where the task does not fit."""
        if not machine.fits(task):
            return None
        options = self.choices(machine, task, topology)
        costs = [(self.cost(machine, task, devices), devices) for devices in options]
        return min(costs, key=lambda option: option[0])


class First(Rule):
    """The first machine by name, and its device with the least room."""

    def cost(self, machine: Machine, task: Task, devices: Devices) -> Cost:
        return ()

    def order(self, machine: Machine, able: Sequence[int]) -> Iterable[int]:
        return sorted(able, key=lambda device: machine.devices[device])


@dataclass(frozen=True)
class Pack(Rule):
    """Where the least CPU and GPU is left, each as a part of what the largest machine has, then the least
    memory, then the least of the device."""

    largest: Machine

    def left(self, machine: Machine, task: Task) -> tuple[int, int]:
        """CPU and GPU that are left, and memory, in millionths of the largest machine."""
        cpu = _part(machine.cpu - task.cpu, self.largest.cpu)
        gpu = _part(machine.gpu - task.gpu, self.largest.gpu)
        return cpu + gpu, _part(machine.memory - task.memory, self.largest.memory)

    def cost(self, machine: Machine, task: Task, devices: Devices) -> Cost:
        return *self.left(machine, task), sum(machine.devices[device] for device in devices)


class Spread(Pack):
    """Where the most is left of what the task asks for: one without GPUs leaves those to others."""

    def left(self, machine: Machine, task: Task) -> tuple[int, int]:
        wanted = machine if task.gpu else Machine(machine.cpu, machine.memory)
        return super().left(wanted, task)

    def cost(self, machine: Machine, task: Task, devices: Devices) -> Cost:
        return tuple(-amount for amount in super().cost(machine, task, devices))


@dataclass(frozen=True)
class FragmentationDescent(Rule):
    """Where F_n(M) grows least, or shrinks most; equal ones as by ``Pack``.

    Growth is compared in steps of 40 milli-GPU. The published code does the like, with a score in whole
    percent of a sigmoid: finer differences say less of the tasks to come than how full the machines are.
    """

    workload: Workload
    pack: Pack

    def cost(self, machine: Machine, task: Task, devices: Devices) -> Cost:
        growth = self.workload.fragments(machine.take(task, devices)) - self.workload.fragments(machine)
        return growth // (STEP * max(1, self.workload.total)), *self.pack.cost(machine, task, devices)


def _part(amount: int, most: int) -> int:
    return amount * SCALE // most if most else 0


def largest(machines: Iterable[Machine]) -> Machine:
    """The most that any of these machines has of each resource; its GPUs on one device."""
    cpu = memory = gpu = 0
    for machine in machines:
        cpu, memory, gpu = max(cpu, machine.cpu), max(memory, machine.memory), max(gpu, machine.gpu)
    return Machine(cpu, memory, (gpu,))


# By name, the rule for these machines when empty and this workload.
RULES: Mapping[str, Callable[[Sequence[Machine], Workload], Rule]] = {
    "first": lambda machines, workload: First(),
    "pack": lambda machines, workload: Pack(largest(machines)),
    "spread": lambda machines, workload: Spread(largest(machines)),
    "fgd": lambda machines, workload: FragmentationDescent(workload, Pack(largest(machines))),
}
