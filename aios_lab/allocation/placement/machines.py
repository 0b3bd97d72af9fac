"""Machines with devices, and tasks that take whole ones or a part of one.

The rest of the core counts a node's GPUs together; where a unit lands on single devices matters to placement.
"""

from __future__ import annotations

from dataclasses import dataclass

from aios_lab.allocation.types import Resources, Vector

WHOLE = 1000  # milli-GPU of a device


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One unit: milli-CPU, MiB, and ``part`` milli-GPU on each of ``devices`` devices.

    A part of less than a whole is of one device; several are whole.
    """

    cpu: int
    memory: int = 0
    devices: int = 0
    part: int = 0

    @classmethod
    def of(cls, unit: Resources | Vector) -> Task:
        """The task that a unit is: more than one GPU is that many devices, a broken number rounded up."""
        cpu, memory, gpu, _ = unit.vector if isinstance(unit, Resources) else unit
        if gpu < WHOLE:
            return cls(cpu, memory, 1 if gpu else 0, gpu)
        return cls(cpu, memory, -(-gpu // WHOLE), WHOLE)

    @property
    def gpu(self) -> int:
        """Milli-GPU in all."""
        return self.devices * self.part


@dataclass(frozen=True, slots=True)
class Machine:
    """What is free: milli-CPU, MiB, and milli-GPU of each device."""

    cpu: int
    memory: int = 0
    devices: tuple[int, ...] = ()

    @classmethod
    def of(cls, free: Resources | Vector) -> Machine:
        """The machine whose free GPUs are whole as far as they can be; all that totals can tell."""
        cpu, memory, gpu, _ = free.vector if isinstance(free, Resources) else free
        whole, rest = divmod(max(0, gpu), WHOLE)
        return cls(cpu, memory, (WHOLE,) * whole + ((rest,) if rest else ()))

    @property
    def gpu(self) -> int:
        """Milli-GPU that are free in all."""
        return sum(self.devices)

    def able(self, task: Task) -> list[int]:
        """The devices that could be one of the task's."""
        return [device for device, free in enumerate(self.devices) if free >= task.part]

    def fits(self, task: Task) -> bool:
        return (
            task.cpu <= self.cpu
            and task.memory <= self.memory
            and (not task.devices or len(self.able(task)) >= task.devices)
        )

    def take(self, task: Task, devices: tuple[int, ...]) -> Machine:
        """What is left when the task runs on these devices; no check whether it fits."""
        left = list(self.devices)
        for device in devices:
            left[device] -= task.part
        return Machine(self.cpu - task.cpu, self.memory - task.memory, tuple(left))

    def give(self, task: Task, devices: tuple[int, ...]) -> Machine:
        """What is free when the task has left."""
        left = list(self.devices)
        for device in devices:
            left[device] += task.part
        return Machine(self.cpu + task.cpu, self.memory + task.memory, tuple(left))
