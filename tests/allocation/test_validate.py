"""The gate: every rule is broken once."""

from __future__ import annotations

import pytest

from aios_lab.allocation import (
    Change,
    InvalidPlan,
    InvalidSnapshot,
    Lease,
    Node,
    Plan,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    Usage,
    decide,
    validate,
)
from allocation.snapshots import demand, node

HELD = (Lease("a", "local", 3),)
WHY = dict.fromkeys("abcde", "because")
CLAIMS = (
    demand("a", "ada", 3, min=2, floor=1),
    demand("b", "bob", 2, min=2),
    demand("c", "cy", 1, preemptible=False),
)
SNAPSHOT = Snapshot(
    (node(4),), (Principal("cluster/default/bob", limit=Resources(1000, 9000)),), CLAIMS, HELD
)
FIXED = Snapshot((node(4),), (), CLAIMS, (Lease("c", "local", 1), Lease("a", "local", 1)))


@pytest.mark.parametrize(
    ("snapshot", "plan", "says"),
    [
        (SNAPSHOT, Plan(grants=(Change("c", "local", 0),), reasons=WHY), "not positive"),
        (SNAPSHOT, Plan(grants=(Change("x", "local", 1),), reasons=WHY), "names claim x"),
        (SNAPSHOT, Plan(grants=(Change("c", "moon", 1),), reasons=WHY), "names node moon"),
        (SNAPSHOT, Plan(shrinks=(Change("a", "local", 4),), reasons=WHY), "holds 3 units"),
        (SNAPSHOT, Plan(grants=(Change("b", "local", 2),), reasons=WHY), "more cpu on local than is free"),
        (SNAPSHOT, Plan(grants=(Change("b", "local", 1),), reasons=WHY), "its minimum is 2"),
        (SNAPSHOT, Plan(grants=(Change("a", "local", 1),), reasons=WHY), "asked for 3 at most"),
        (SNAPSHOT, Plan(shrinks=(Change("a", "local", 3),), reasons=WHY), "below its floor of 1"),
        (SNAPSHOT, Plan(shrinks=(Change("a", "local", 2),), reasons=WHY), "below its minimum of 2"),
        (
            SNAPSHOT,
            Plan(shrinks=(Change("a", "local", 1),), grants=(Change("a", "local", 1),), reasons=WHY),
            "both",
        ),
        (SNAPSHOT, Plan(reasons={"b": "because"}), "Claim c ends with 0 of 1 units"),
        (FIXED, Plan(shrinks=(Change("c", "local", 1),), reasons=WHY), "not preemptible"),
        (FIXED, Plan(grants=(Change("b", "local", 3),), reasons=WHY), "more cpu"),
    ],
)
def test_rules(snapshot: Snapshot, plan: Plan, says: str) -> None:
    with pytest.raises(InvalidPlan, match=says):
        validate(snapshot, plan)


def test_limits_hold_for_grants() -> None:
    limit = Principal("cluster/default/bob", limit=Resources(1000, 9000))
    snapshot = Snapshot((node(4),), (limit,), CLAIMS)
    with pytest.raises(InvalidPlan, match="cpu limit of cluster/default/bob"):
        validate(snapshot, Plan(grants=(Change("b", "local", 2),), reasons=WHY))


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (Snapshot((node(1), node(1)), (), ()), "more than one node called local"),
        (Snapshot((node(1),), (), (demand("a", "ada", 1),) * 2), "more than one claim called a"),
        (Snapshot((), (Principal("x"),) * 2, ()), "more than one principal called x"),
        (Snapshot((Node("n", Resources(cpu=-1)),), (), ()), "capacity of node n has a negative amount"),
        (Snapshot((), (), (demand("a", "ada", -1),)), "demand of claim a has a negative amount"),
        (Snapshot((), (), (), usage=(Usage("x", Resources(gpu=-1)),)), "usage of x has a negative amount"),
        (
            Snapshot((), (), (), usage=(Usage("x", Resources()),) * 2),
            "more than one account of usage called x",
        ),
        (Snapshot((), (), (), sharing=Sharing(half_life=-1)), "half_life of fair share is negative"),
        (Snapshot((node(1),), (), (), (Lease("a", "local", 1),)), "claim a, which demands nothing"),
        (
            Snapshot((), (), (demand("a", "ada", 1),), (Lease("a", "moon", 1),)),
            "node moon, which is not there",
        ),
    ],
)
def test_snapshots_that_contradict_themselves(snapshot: Snapshot, says: str) -> None:
    with pytest.raises(InvalidSnapshot, match=says):
        decide(snapshot)
