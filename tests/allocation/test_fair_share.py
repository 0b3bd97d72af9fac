"""Fair share in tables: who holds what when everything has come to rest."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from aios_lab.allocation import (
    Change,
    Demand,
    InvalidSnapshot,
    Lease,
    Node,
    Plan,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    decide,
    validate,
)
from allocation.snapshots import carry_out, demand, holdings, node


def rest(snapshot: Snapshot) -> dict[str, int]:
    """What everyone holds in the end."""
    for _ in range(10):
        plan = decide(snapshot)
        validate(snapshot, plan)
        if not plan.grants and not plan.shrinks:
            return holdings(snapshot)
        snapshot = carry_out(snapshot, plan)
    raise AssertionError("no rest")


def on(threads: int, *demands: Demand, principals: tuple[Principal, ...] = (), **held: int) -> Snapshot:
    leases = tuple(Lease(claim, "local", units) for claim, units in held.items())
    return Snapshot((node(threads),), principals, demands, leases)


ADA, BOB = "cluster/default/ada", "cluster/default/bob"
CASES = {
    "alone it has all": (on(4, demand("a", "ada", 8)), {"a": 4}),
    "two share equally": (on(4, demand("a", "ada", 4), demand("b", "bob", 4)), {"a": 2, "b": 2}),
    "two of one user share equally": (on(4, demand("a", "ada", 4), demand("b", "ada", 4)), {"a": 2, "b": 2}),
    "the later one gets its half": (
        on(4, demand("a", "ada", 4), demand("b", "bob", 4), a=4),
        {"a": 2, "b": 2},
    ),
    "what one does not want, the other has": (
        on(4, demand("a", "ada", 1), demand("b", "bob", 4)),
        {"a": 1, "b": 3},
    ),
    "the odd unit stays with its holder": (
        on(3, demand("a", "ada", 3, submitted=9), demand("b", "bob", 3, submitted=1), a=2, b=1),
        {"a": 2, "b": 1},
    ),
    "users share, not claims": (
        on(4, demand("a", "ada", 4), demand("b", "bob", 4), demand("c", "bob", 4)),
        {"a": 2, "b": 1, "c": 1},
    ),
    "weights 2:1": (
        on(6, demand("a", "ada", 6), demand("b", "bob", 6), principals=(Principal(ADA, weight=200),)),
        {"a": 4, "b": 2},
    ),
    "projects share before users": (
        on(
            6,
            demand("a", "ada", 6, principal="cluster/one/ada"),
            demand("b", "bob", 6, principal="cluster/two/bob"),
            demand("c", "cy", 6, principal="cluster/two/cy"),
            principals=(Principal("cluster/one", weight=200),),
        ),
        {"a": 4, "b": 1, "c": 1},
    ),
    "a quota comes before fair shares": (
        on(
            4,
            demand("a", "ada", 3),
            demand("b", "bob", 4),
            principals=(Principal(ADA, quota=Resources(3000, 4096)),),
        ),
        {"a": 3, "b": 1},
    ),
    "a limit leaves the rest to others": (
        on(
            4,
            demand("a", "ada", 4),
            demand("b", "bob", 4),
            principals=(Principal(ADA, limit=Resources(1000, 4096)),),
        ),
        {"a": 1, "b": 3},
    ),
    "a limit counts when nobody waits": (
        on(4, demand("a", "ada", 4), principals=(Principal("cluster/default", limit=Resources(3000, 9000)),)),
        {"a": 3},
    ),
    "a lowered limit takes back": (
        on(4, demand("a", "ada", 4), principals=(Principal(ADA, limit=Resources(2000, 9000)),), a=4),
        {"a": 2},
    ),
    "minimums come before growth": (
        on(4, demand("a", "ada", 4, submitted=1), demand("b", "bob", 3, min=3, submitted=2)),
        {"a": 1, "b": 3},
    ),
    "minimum or nothing": (
        on(4, demand("a", "ada", 2, min=2), demand("b", "bob", 3, min=3)),
        {"a": 2, "b": 0},
    ),
    "what is not preemptible stays": (
        on(4, demand("a", "ada", 4, preemptible=False), demand("b", "bob", 4), a=4),
        {"a": 4, "b": 0},
    ),
    "a busy run keeps its units": (
        on(4, demand("a", "ada", 4, floor=3), demand("b", "bob", 4), a=4),
        {"a": 3, "b": 1},
    ),
    "asked for less, it gives back": (on(4, demand("a", "ada", 1), a=4), {"a": 1}),
    "also when it is not preemptible": (on(4, demand("a", "ada", 1, preemptible=False), a=4), {"a": 1}),
    "but not below its busy run": (on(4, demand("a", "ada", 1, floor=3), a=4), {"a": 3}),
    "nobody needs it, so it stays": (
        on(4, demand("a", "ada", 4), demand("b", "bob", 1), a=3),
        {"a": 3, "b": 1},
    ),
    "high priority goes before one's own others": (
        on(4, demand("a", "ada", 4), demand("b", "ada", 4, priority=1)),
        {"a": 1, "b": 3},
    ),
    "high priority takes nothing from others": (
        on(4, demand("a", "ada", 4), demand("b", "bob", 4, priority=1)),
        {"a": 2, "b": 2},
    ),
    "a project of higher priority goes first": (
        on(4, demand("a", "ada", 4), demand("b", "bob", 4), principals=(Principal(BOB, priority=1),)),
        {"a": 1, "b": 3},
    ),
    "weight 0 gets what is left": (
        on(4, demand("a", "ada", 2), demand("b", "bob", 4), principals=(Principal(BOB, weight=0),)),
        {"a": 2, "b": 2},
    ),
    "many notebooks of one user make room for another's": (
        on(
            2,
            demand("a", "ada", 1, submitted=1),
            demand("b", "ada", 1, submitted=2),
            demand("c", "bob", 1),
            a=1,
            b=1,
        ),
        {"a": 1, "b": 0, "c": 1},
    ),
    "a third of one user waits": (
        on(2, demand("a", "ada", 1), demand("b", "ada", 1), demand("c", "ada", 1, submitted=-5), a=1, b=1),
        {"a": 1, "b": 1, "c": 0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_shares(case: str) -> None:
    snapshot, expected = CASES[case]
    assert rest(snapshot) == expected


def test_dominant_shares_are_equal_as_in_the_paper() -> None:
    """Ghodsi et al., NSDI 2011, section 4.1: of 9 CPUs and 18 GB, A needs <1, 4>, B needs <3, 1>."""
    machine = replace(node(1), capacity=Resources(9000, 18 * 1024))
    a = demand("a", "ada", 20, unit=Resources(1000, 4096))
    b = demand("b", "bob", 20, unit=Resources(3000, 1024))
    assert rest(Snapshot((machine,), (), (a, b))) == {"a": 3, "b": 2}


def test_gpus_are_shared_by_those_who_want_them() -> None:
    trains = [demand(name, name, 4, unit=Resources(1000, 1024, 1000, 16_384)) for name in ("ada", "bob")]
    prepares = demand("cy", "cy", 8)
    assert rest(Snapshot((node(8, gpus=4),), (), (*trains, prepares))) == {"ada": 2, "bob": 2, "cy": 4}


def test_several_machines() -> None:
    machines = (node(3, "one"), node(2, "two"))
    wide = demand("a", "ada", 9, unit=Resources(2000, 1024))
    small = demand("b", "bob", 9)
    assert rest(Snapshot(machines, (), (wide, small))) == {"a": 1, "b": 3}


def test_shrinks_come_first_and_grants_when_the_room_is_free() -> None:
    snapshot = on(4, demand("a", "ada", 4), demand("b", "bob", 4), a=4)
    plan = decide(snapshot)
    assert plan.shrinks == (Change("a", "local", 2),)
    assert plan.grants == ()
    assert decide(snapshot) == plan
    after = decide(carry_out(snapshot, plan))
    assert after.grants == (Change("b", "local", 2),)


def test_what_is_free_is_granted_at_once() -> None:
    plan = decide(on(4, demand("a", "ada", 4), demand("b", "bob", 4), a=3))
    assert plan.grants == (Change("b", "local", 1),)
    assert plan.shrinks == (Change("a", "local", 1),)


def test_an_empty_cluster_and_no_claims() -> None:
    assert decide(Snapshot((), (), ())) == Plan()
    plan = decide(Snapshot((), (), (demand("a", "ada", 1),)))
    assert "the cluster has no nodes" in plan.reasons["a"]


def test_a_policy_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="fair_share"):
        decide(Snapshot((), (), ()), policy="luck")


def test_two_claims_do_not_take_turns_for_ever() -> None:
    """What counts of b is where b is. From scratch it would be on the other machine, and then the wide claim
    would fit on neither while the elastic one holds less, and on one of them while it holds more."""
    unit, wide = Resources(500, 512), Resources(500, 1024)
    nodes = (Node("n0", Resources(1500, 1536)), Node("n1", Resources(1000, 1024)))
    claims = (
        demand("fixed", "ada", 1, unit=unit, min=0, preemptible=False),
        demand("b", "ada", 1, unit=unit, min=0),
        demand("wide", "ada", 1, unit=wide, min=0, preemptible=False),
        demand("elastic", "ada", 2, unit=unit, floor=1),
    )
    snapshot = Snapshot(nodes, (), claims, (Lease("b", "n1", 1), Lease("elastic", "n1", 1)))
    assert rest(snapshot) == {"fixed": 1, "b": 1, "wide": 1, "elastic": 1}


def test_what_was_found_beside_a_unit_is_not_found_by_taking_that_unit() -> None:
    """Of the busy claim's four units the two that its run needs count on the first machine. So it is those on
    the other one that go, and not in turns the ones and the others."""
    nodes = (Node("n2", Resources(4000, 8000, 4000)), Node("n3", Resources(4000, 16_000, 2000)))
    claims = (
        Demand("busy", "cluster/v/ada", Resources(0, 3000, 1000), 0, 4, floor=2),
        Demand("new", "cluster/t/cy", Resources(1000, 3000, 1000), 0, 2),
        Demand("wide", "cluster/solo/bob", Resources(2000), 0, 2),
    )
    held = (Lease("busy", "n2", 2), Lease("busy", "n3", 2))
    plan = decide(Snapshot(nodes, (), claims, held))
    assert plan.shrinks == (Change("busy", "n3", 2),)
    assert rest(Snapshot(nodes, (), claims, held)) == {"busy": 2, "new": 2, "wide": 2}


GOOD = Demand("a", "cluster/v/ada", Resources(1000), 1, 1)
# Values that no type checker would let through.
NAN: Any = float("nan")
HALF: Any = 1.5
NOBODY: Any = None
UNKNOWN: Any = "x"


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (on(4, replace(GOOD, submitted=NAN)), "claim a has a time that is not finite"),
        (on(4, replace(GOOD, started=NAN)), "claim a has a time that is not finite"),
        (on(4, replace(GOOD, duration=-100.0)), "duration of claim a is -100.0"),
        (on(4, replace(GOOD, duration=NAN)), "duration of claim a is nan"),
        (on(4, replace(GOOD, max=HALF)), "units that are no whole number"),
        (on(4, replace(GOOD, min=-1)), "negative amount"),
        (on(4, replace(GOOD, unit=Resources(NAN))), "unit of claim a has cpu nan"),
        (on(4, replace(GOOD, unit=Resources(-1))), "negative amount of cpu: -1"),
        (on(4, replace(GOOD, principal="/a")), "principal '/a' is no path"),
        (on(4, replace(GOOD, principal=NOBODY)), "principal None is no path"),
        (replace(on(4, GOOD), now=NAN), "The time is nan"),
        (replace(on(4, GOOD), nodes=(Node("n", Resources(NAN)),)), "capacity of node n"),
        (on(4, GOOD, principals=(Principal("p", weight=-5),)), "weight of principal p is -5"),
        (on(4, GOOD, principals=(Principal("p", weight=NAN),)), "weight of principal p is nan"),
        (on(4, GOOD, principals=(Principal("p", quota=Resources(-1)),)), "quota of principal p"),
        (on(4, GOOD, principals=(Principal("p", limit=Resources(gpu=-1)),)), "limit of principal p"),
        (replace(on(4, GOOD), sharing=Sharing(order=UNKNOWN)), "no order 'x'"),
        (replace(on(4, GOOD), sharing=Sharing(k=NAN)), "k of fair share"),
    ],
)
def test_what_means_nothing_is_refused_and_named(snapshot: Snapshot, says: str) -> None:
    with pytest.raises(InvalidSnapshot, match=re.escape(says)):
        decide(snapshot)
