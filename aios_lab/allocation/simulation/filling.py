"""How full a cluster gets: tasks arrive and stay, and what has no room is turned away.

Source: the experiment of Weng et al., "Beware of Fragmentation", USENIX ATC 2023, section 6, as in their
code: the tasks of a trace and random copies of some, until they ask for 130 % of all GPUs, in random order;
the allocation ratio is what part of all GPUs is in use when the tasks so far have asked for so much.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from aios_lab.allocation.placement import RULES, Cluster, Machine, Task, Workload, typical_units
from aios_lab.allocation.simulation.jobs import Job
from aios_lab.allocation.simulation.tables import text_table
from aios_lab.allocation.types import Node

LEVELS = (80, 90, 100, 110, 120)
INFLATION = 1.3
SEEDS = 10
RANDOM = "random"
TRIES = 10


@dataclass(frozen=True, slots=True)
class Filling:
    """By rule and level, in percent of all GPUs, the allocation ratio of every seed, 0 to 1."""

    gpus: float
    ratios: Mapping[str, Mapping[int, tuple[float, ...]]]

    def to_table(self) -> str:
        """A row a rule: the mean over the seeds, and how far the seeds are from each other."""
        levels = next(iter(self.ratios.values()), {})
        rows = []
        for rule, by_level in self.ratios.items():
            means = [f"{statistics.mean(by_level[level]):.2%}" for level in levels]
            last = by_level[max(levels)]
            rows.append((rule, *means, f"{min(last):.2%} to {max(last):.2%}"))
        headings = ("placement", *(f"{level} % asked" for level in levels), "seeds, at the last")
        return f"GPUs in use, of {self.gpus:,g}\n\n{text_table(headings, rows)}"

    def to_json(self) -> dict[str, Any]:
        """Everything, in dictionaries, lists and numbers."""
        return {"gpus": self.gpus, "ratios": self.ratios}


def fill(
    jobs: Iterable[Job],
    nodes: Sequence[Node],
    rules: Sequence[str],
    seeds: int = SEEDS,
    tell: Callable[[str, int], None] | None = None,
) -> Filling:
    """Fill these nodes by each rule of ``RULES``, or by "random"; ``tell`` hears a rule and a finished seed.

    The typical workload of "fgd" is that of the jobs, every unit a task of its own.

    Raises:
        ValueError: there is no such rule, the nodes have no GPUs, or no job asks for any.
    """
    units = [(job.unit, job.count) for job in jobs]
    tasks = [Task.of(unit) for unit, count in units for _ in range(count)]
    machines = [Machine.of(node.capacity) for node in sorted(nodes, key=lambda node: node.name)]
    capacity = sum(machine.gpu for machine in machines)
    if not capacity:
        raise ValueError("The nodes have no GPUs: nothing can be a fragment.")
    if not any(task.gpu for task in tasks):
        raise ValueError("No job asks for a GPU: nothing would be filled.")
    for rule in rules:
        if rule not in (RANDOM, *RULES):
            raise ValueError(f"There is no placement {rule!r}; there are: {RANDOM}, {', '.join(RULES)}.")
    workload = Workload.of(typical_units(units))
    ratios: dict[str, dict[int, tuple[float, ...]]] = {}
    for rule in rules:
        runs = []
        for seed in range(seeds):
            random = Random(seed)
            arriving = inflated(tasks, int(INFLATION * capacity), random)
            place = _placer(rule, machines, workload, random)
            runs.append(_run(arriving, capacity, place))
            if tell is not None:
                tell(rule, seed)
        ratios[rule] = {level: tuple(run[level] for run in runs) for level in LEVELS}
    return Filling(capacity / 1000, ratios)


def inflated(tasks: Sequence[Task], gpu: int, random: Random) -> list[Task]:
    """The tasks and random copies of them that ask for no less milli-GPU than this, in random order."""
    asked = sum(task.gpu for task in tasks)
    more = list(tasks)
    while asked < gpu:
        more.append(random.choice(tasks))
        asked += more[-1].gpu
    random.shuffle(more)
    return more


def _placer(
    rule: str, machines: Sequence[Machine], workload: Workload, random: Random
) -> Callable[[Task], object | None]:
    if rule != RANDOM:
        return Cluster(machines, RULES[rule](machines, workload)).place
    rooms = list(machines)

    def place(task: Task) -> object | None:
        """Any machine with room, and any devices of it."""
        number = _any_with_room(rooms, task, random)
        if number is not None:
            able = rooms[number].able(task) if task.devices else []
            rooms[number] = rooms[number].take(task, tuple(random.sample(able, task.devices)))
        return number

    return place


def _any_with_room(rooms: Sequence[Machine], task: Task, random: Random) -> int | None:
    """All that have room are equally likely; a few are tried before all are looked at."""
    for _ in range(TRIES):
        number = random.randrange(len(rooms))
        if rooms[number].fits(task):
            return number
    able = [number for number, room in enumerate(rooms) if room.fits(task)]
    return random.choice(able) if able else None


def _run(tasks: Iterable[Task], capacity: int, place: Callable[[Task], object | None]) -> dict[int, float]:
    """The part of all milli-GPU in use at each level."""
    asked = used = 0
    reached: dict[int, float] = {}
    for task in tasks:
        asked += task.gpu
        if place(task) is not None:
            used += task.gpu
        for level in LEVELS:
            if asked * 100 >= level * capacity:
                reached.setdefault(level, used / capacity)
    return reached
