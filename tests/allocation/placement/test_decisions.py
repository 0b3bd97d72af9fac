"""On which nodes decisions put units, by rule, whatever the policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aios_lab.allocation import (
    POLICIES,
    Change,
    Lease,
    Node,
    Placement,
    Resources,
    Snapshot,
    decide,
    validate,
)
from aios_lab.allocation.simulation import Job, compare, play
from aios_lab.allocation.simulation.report import report
from allocation.snapshots import THREAD, demand, node

NODES = (node(4, "a", gpus=1), node(8, "b"), node(3, "c", gpus=2))
# A claim on a leaves 2 threads there.
USED = Snapshot(NODES, (), (demand("old", "ada", 2), demand("new", "bob", 1)), (Lease("old", "a", 2),))
HALF = Resources(1000, 1024, 500)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize(("rule", "goes_to"), [("first", "a"), ("pack", "a"), ("spread", "b"), ("fgd", "b")])
def test_a_thread(policy: str, rule: str, goes_to: str) -> None:
    """fgd leaves the nodes with GPUs to those who need them: on c half of the tasks could not start."""
    placement = Placement(rule, ((Resources(2000, gpu=1000), 1), (THREAD, 1)))
    snapshot = replace(USED, placement=placement)
    plan = decide(snapshot, policy)
    validate(snapshot, plan)
    assert plan.grants == (Change("new", goes_to, 1),)


@pytest.mark.parametrize(("rule", "goes_to"), [("first", "a"), ("pack", "c"), ("fgd", "c")])
def test_half_a_gpu_goes_to_the_broken_one(rule: str, goes_to: str) -> None:
    """On c one device is half used: fgd keeps the whole one of a."""
    demands = (demand("old", "ada", 1, unit=HALF), demand("new", "bob", 1, unit=HALF))
    snapshot = Snapshot(
        NODES,
        (),
        demands,
        (Lease("old", "c", 1),),
        placement=Placement(rule, ((Resources(1000, gpu=1000), 1),)),
    )
    assert decide(snapshot).grants == (Change("new", goes_to, 1),)


def test_a_unit_that_no_device_has_room_for_goes_there_last() -> None:
    """1,500 milli-GPU are free on a, which may be no two devices; b has them whole."""
    nodes = (Node("a", Resources(9000, 9000, 1500)), Node("b", Resources(9000, 9000, 3000)))
    wanting = demand("x", "ada", 1, unit=Resources(1000, 1000, 1200))
    for rule, goes_to in (("first", "a"), ("pack", "b")):
        assert decide(Snapshot(nodes, (), (wanting,), placement=Placement(rule))).grants[0].node == goes_to
    alone = Snapshot(nodes[:1], (), (wanting,), placement=Placement("pack"))
    assert decide(alone).grants == (Change("x", "a", 1),)


def test_spreading_leaves_no_room_for_what_is_large() -> None:
    """Two small jobs, then one that needs a whole node: packed it starts at once, spread it waits."""
    nodes = (node(2, "a"), node(2, "b"))
    jobs = [Job(n, float(n), 100.0, size) for n, size in enumerate((THREAD, THREAD, THREAD * 2))]
    starts = {
        rule: max(one.start for one in play(jobs, nodes, "fcfs", placement=Placement(rule)).finished)
        for rule in ("pack", "spread")
    }
    assert starts == {"pack": 2.0, "spread": 100.0}


def test_policies_are_compared_with_every_placement() -> None:
    nodes = (node(2, "a"), node(2, "b"))
    jobs = [Job(n, float(n), 100.0, size) for n, size in enumerate((THREAD, THREAD, THREAD * 2))]
    made = compare(jobs, nodes, ["fcfs", "fair_share"], placements=["spread", "fgd"])
    assert [*made.reports] == ["fcfs, spread", "fcfs, fgd", "fair_share, spread", "fair_share, fgd"]
    alone = play(jobs, nodes, "fcfs", placement=Placement("spread"))
    assert made.reports["fcfs, spread"] == report(alone.finished, Resources(4000, 4 * 4096))


def test_a_placement_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no placement 'tight'; there are: first, pack, spread, fgd"):
        decide(replace(USED, placement=Placement("tight")))
