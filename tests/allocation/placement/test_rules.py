"""Where tasks go, in tables; and that the machine kept at hand is the one that a search would find."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import Resources
from aios_lab.allocation.placement import RULES, Cluster, Machine, Task, Workload
from aios_lab.allocation.placement.affinity import Topology
from allocation.placement.machines import machines, tasks, workloads

EMPTY = Machine(16_000, 64, (1000, 1000))
HALF_USED = Machine(8_000, 32, (1000, 500))
HALF, WHOLE, PAIR, CPU = Task(1000, 1, 1, 500), Task(1000, 1, 1, 1000), Task(1000, 1, 2, 1000), Task(1000, 1)
EXPECTED = Workload({HALF: 1, WHOLE: 2, PAIR: 1})
CASES = {
    "first: by name": ("first", (EMPTY, HALF_USED), HALF, (0, (0,))),
    "first: the first with room": ("first", (HALF_USED, EMPTY), PAIR, (1, (0, 1))),
    "first: the device with the least room": ("first", (HALF_USED, EMPTY), HALF, (0, (1,))),
    "pack: where the least is left": ("pack", (EMPTY, HALF_USED), WHOLE, (1, (0,))),
    "pack: the tightest device": ("pack", (EMPTY, HALF_USED), HALF, (1, (1,))),
    "pack: without GPUs, too": ("pack", (EMPTY, HALF_USED), CPU, (1, ())),
    "spread: where the most is left": ("spread", (HALF_USED, EMPTY), HALF, (1, (0,))),
    "spread: the emptiest device": ("spread", (HALF_USED,), Task(1000, 1, 1, 300), (0, (0,))),
    # On the second the half is of use to nobody else; on the first a pair would lose its place.
    "fgd: into the broken device": ("fgd", (EMPTY, HALF_USED), HALF, (1, (1,))),
    # A CPU of the first would leave the second device there to nobody.
    "fgd: what needs no GPU goes where no GPU is stranded": (
        "fgd",
        (Machine(1000, 9, (1000,)), Machine(1000, 9, (0,))),
        CPU,
        (1, ()),
    ),
    "no room": ("fgd", (HALF_USED,), PAIR, None),
}


@pytest.mark.parametrize("case", CASES)
def test_where_it_goes(case: str) -> None:
    name, rooms, task, expected = CASES[case]
    assert Cluster(rooms, RULES[name](rooms, EXPECTED)).place(task) == expected


def test_linked_devices_are_taken_together() -> None:
    rooms = (Machine(9000, 9, (1000, 1000, 1000, 1000)),)
    cluster = Cluster(rooms, RULES["pack"](rooms, EXPECTED), {0: Topology({1: (3,)})})
    assert cluster.place(PAIR) == (0, (1, 3))
    assert cluster.machines[0].devices == (1000, 0, 1000, 0)


UNITS = {
    Resources(1000, 5): Task(1000, 5),
    Resources(1000, 5, 400, 9): Task(1000, 5, 1, 400),
    Resources(1000, 5, 1000): Task(1000, 5, 1, 1000),
    Resources(1000, 5, 3000): Task(1000, 5, 3, 1000),
    Resources(1000, 5, 2500): Task(1000, 5, 3, 1000),
}


@pytest.mark.parametrize("unit", UNITS)
def test_the_task_that_a_unit_is(unit: Resources) -> None:
    assert Task.of(unit) == UNITS[unit]


def test_the_machine_that_totals_tell_of() -> None:
    assert Machine.of(Resources(1, 2, 2300, 7)) == Machine(1, 2, (1000, 1000, 300))
    assert Machine.of((1, 2, -5, 7)) == Machine(1, 2)


@given(
    st.lists(machines(), min_size=1, max_size=6),
    st.lists(st.tuples(tasks(), st.integers(0, 9)), max_size=25),
    workloads(),
    st.sampled_from(sorted(RULES)),
)
def test_the_best_machine_is_at_hand(
    rooms: list[Machine], steps: list[tuple[Task, int]], workload: Workload, name: str
) -> None:
    """Tasks come and go; each is placed where a look at every machine says."""
    rule = RULES[name](rooms, workload)
    cluster = Cluster(rooms, rule)
    placed: list[tuple[Task, int, tuple[int, ...]]] = []
    for task, ending in steps:
        options = [
            (option[0], number, option[1])
            for number, machine in enumerate(cluster.machines)
            if (option := rule.best(machine, task)) is not None
        ]
        found = cluster.place(task)
        assert found == (min(options)[1:] if options else None)
        if found is not None:
            placed.append((task, *found))
        if ending < len(placed):
            cluster.leave(*placed.pop(ending))
        for machine in cluster.machines:
            assert min(machine.cpu, machine.memory, *machine.devices, 0) == 0
    for one in placed:
        cluster.leave(*one)
    assert cluster.machines == rooms


@given(st.lists(machines(), min_size=1, max_size=5), tasks(), workloads())
def test_fragments_grow_least(rooms: list[Machine], task: Task, workload: Workload) -> None:
    """Within the 40 milli-GPU that count as equal, no machine and no device would do better."""
    found = Cluster(rooms, RULES["fgd"](rooms, workload)).best(task)
    growth = [
        workload.fragmentation(machine.take(task, devices)) - workload.fragmentation(machine)
        for machine in rooms
        if machine.fits(task)
        for devices in RULES["fgd"](rooms, workload).choices(machine, task, Topology())
    ]
    assert (found is None) == (not growth)
    if found is not None:
        machine, devices = rooms[found[0]], found[1]
        chosen = workload.fragmentation(machine.take(task, devices)) - workload.fragmentation(machine)
        assert chosen < min(growth) + 40
