"""F_n(M) by hand, and as the authors' own tests have it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import Resources
from aios_lab.allocation.placement import Machine, Task, Workload, typical_units
from allocation.placement.machines import machines, tasks, workloads

HALF, WHOLE, PAIR, CPU = Task(2000, 0, 1, 500), Task(4000, 0, 1, 1000), Task(8000, 0, 2, 1000), Task(1000)
BY_HAND = {
    "an idle machine that all can use has no fragments": (Machine(8000, 0, (1000, 1000)), {PAIR: 1}, 0),
    "a full one has none either": (Machine(8000, 0, (0, 0)), {PAIR: 1}, 0),
    "all is a fragment where the CPU is missing": (Machine(7999, 0, (1000, 1000)), {PAIR: 1}, 2000),
    "and where a device is missing": (Machine(8000, 0, (1000, 900)), {PAIR: 1}, 1900),
    "and for tasks without GPUs": (Machine(8000, 0, (1000, 900)), {CPU: 1}, 1900),
    "and where the memory is missing": (Machine(9000, 7, (1000,)), {Task(1, 8, 1, 100): 1}, 1000),
    "else what is on devices that are too small": (Machine(8000, 0, (1000, 400, 300)), {HALF: 1}, 700),
    "a device of just the size is none": (Machine(8000, 0, (500, 499)), {HALF: 1}, 499),
    "several devices: those that are not whole": (Machine(8000, 0, (1000, 1000, 900)), {PAIR: 1}, 900),
    # Half of the tasks cannot run: 1400. A quarter finds 400 too small, the last quarter as well.
    "weighed by popularity": (Machine(4000, 0, (1000, 400)), {PAIR: 2, HALF: 1, WHOLE: 1}, 900),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case: str) -> None:
    machine, popularity, expected = BY_HAND[case]
    assert Workload(popularity).fragmentation(machine) == expected


# TestingGenerateGetTypicalPodsWithNonGpu of the authors' simulator, pkg/utils/frag_test.go: milli-CPU,
# milli-GPU of each device, devices, and hundredths of a percent.
TYPICAL = """
15700 1000 1 2869; 11900 1000 1 1893; 11400 1000 1 1227; 1000 0 0 736; 18710 1000 1 485; 8200 1000 1 379
16400 1000 1 331; 9810 1000 1 197; 15200 1000 1 187; 11200 1000 1 181; 14200 1000 1 176; 12000 0 0 165
14900 1000 1 139; 60200 1000 4 123; 64200 1000 8 107; 32200 1000 4 101; 17400 1000 2 91; 30200 1000 2 69
16000 1000 1 64; 15000 1000 1 59; 64000 1000 8 53; 15000 0 0 53; 11910 1000 1 53; 120200 1000 8 48
11300 1000 1 37; 30000 1000 2 32; 9800 1000 1 32; 8000 1000 1 32; 2000 1000 1 27; 2000 80 1 27; 1000 1000 1 27
"""
FOUR = (1000, 1000, 1000, 1000)
PUBLISHED = {
    "8xP100, empty": (Machine(64_000, 0, FOUR * 2), 887.20),
    "8xP100, halved": (Machine(32_000, 0, (*FOUR, 0, 0, 0, 0)), 554.40),
    "8xP100, no CPU": (Machine(0, 0, (*FOUR, 0, 0, 0, 0)), 4000.0),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_as_published(case: str) -> None:
    rows = [tuple(map(int, row.split())) for line in TYPICAL.strip().splitlines() for row in line.split(";")]
    workload = Workload({Task(cpu, 0, devices, part): times for cpu, part, devices, times in rows})
    machine, expected = PUBLISHED[case]
    # Their popularities are not divided by what they add up to.
    assert workload.fragments(machine) / 10_000 == pytest.approx(expected, rel=0.01)


def test_the_typical_ones_are_the_most_popular() -> None:
    half, whole, pair, cpu = (
        Resources(1, gpu=500),
        Resources(1, gpu=1000),
        Resources(2, gpu=2000),
        Resources(1),
    )
    asked = [(half, 30), (cpu, 4), (whole, 30), (half, 30), (pair, 6)]
    assert typical_units(asked) == ((half, 60), (whole, 30), (pair, 6))
    assert typical_units(asked, 0.5) == ((half, 60),)
    assert typical_units(asked, 1) == ((half, 60), (whole, 30), (pair, 6), (cpu, 4))
    assert typical_units(asked[1:3], 1) == typical_units(reversed(asked[1:3]), 1)
    expected = Workload.of(typical_units(asked))
    assert expected.popularity == {Task(1, 0, 1, 500): 60, Task(1, 0, 1, 1000): 30, Task(2, 0, 2, 1000): 6}
    assert Workload.of(()).fragmentation(Machine(1, 1, (300,))) == 300


def test_a_count_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="is expected 0 times"):
        Workload({HALF: 0})


@given(machines(), workloads(), st.randoms(use_true_random=False))
def test_fragments_are_a_part_of_what_is_free(machine: Machine, workload: Workload, random: Random) -> None:
    """And which device is which does not matter."""
    assert 0 <= workload.fragmentation(machine) <= machine.gpu
    shuffled = Machine(
        machine.cpu, machine.memory, tuple(random.sample(machine.devices, len(machine.devices)))
    )
    assert workload.fragments(shuffled) == workload.fragments(machine)


@given(machines(), workloads())
def test_it_is_the_mean_over_single_tasks(machine: Machine, workload: Workload) -> None:
    alone = sum(Workload({t: 1}).fragments(machine) * times for t, times in workload.popularity.items())
    assert workload.fragments(machine) == alone


@given(machines(), tasks())
def test_a_task_fits_where_it_leaves_nothing_negative(machine: Machine, task: Task) -> None:
    devices = tuple(machine.able(task)[: task.devices]) if task.devices else ()
    left = machine.take(task, devices)
    possible = len(devices) == task.devices and min(left.cpu, left.memory, *left.devices, 0) >= 0
    assert machine.fits(task) == possible
    assert left.give(task, devices) == machine
