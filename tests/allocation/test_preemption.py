"""Whom a unit is taken from, what is put back, and what a claim that loses everything is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from aios_lab.allocation import (
    Change,
    InvalidPlan,
    Lease,
    Plan,
    Preemption,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    decide,
    validate,
)
from aios_lab.allocation.board import Board
from aios_lab.allocation.preemption import told
from aios_lab.allocation.reclaim import Reclaim
from aios_lab.allocation.room import Rooms
from aios_lab.allocation.shares import Claimant, Tree, held_units, total_capacity
from allocation.snapshots import carry_out, demand, holdings, node

WIDE = Resources(2000, 2048)


def gone(snapshot: Snapshot, targets: Mapping[str, int], claim: str) -> dict[tuple[str, str], int]:
    """What goes to make room for a unit of the claim, by claim and node."""
    held, empty = held_units(snapshot), Rooms(snapshot.nodes)
    claimants = [
        Claimant(one, sum(held.get(one.claim, {}).values()), one.unit.vector, targets[one.claim])
        for one in sorted(snapshot.demands, key=lambda one: one.claim)
    ]
    taken = (
        (empty.index[lease.node], one.unit, lease.units)
        for lease in snapshot.leases
        for one in claimants
        if one.demand.claim == lease.claim
    )
    board = Board(Tree(snapshot.principals, total_capacity(snapshot)), claimants, held, empty.without(taken))
    assert Reclaim(board).make_room(claim)
    return {(change.claim, change.node): change.units for change in board.changes()}


def three(idle: str = "") -> Snapshot:
    """Three elastic claims of two threads each on one machine, and one that needs room for one."""
    claims = [demand(name, name, 2, idle=name == idle) for name in "abc"]
    leases = tuple(Lease(name, "local", 2) for name in "abc")
    return Snapshot((node(6),), (), (*claims, demand("d", "dan", 1)), leases)


def test_an_idle_unit_goes_before_one_in_use() -> None:
    targets = {"a": 1, "b": 1, "c": 1, "d": 1}
    assert gone(three(), targets, "d") == {("a", "local"): 1}
    assert gone(three(idle="b"), targets, "d") == {("b", "local"): 1}


def test_part_of_an_elastic_claim_in_use_goes_before_the_whole_of_an_idle_one() -> None:
    """On the first machine a whole claim, on the second two units of one that keeps its minimum."""
    claims = (
        demand("whole", "ada", 1, unit=WIDE, idle=True),
        demand("elastic", "bob", 3),
        demand("wide", "cy", 1, unit=WIDE),
    )
    leases = (Lease("whole", "one", 1), Lease("elastic", "two", 2), Lease("elastic", "three", 1))
    snapshot = Snapshot((node(2, "one"), node(2, "two"), node(1, "three")), (), claims, leases)
    targets = {"whole": 0, "elastic": 1, "wide": 1}
    assert gone(snapshot, targets, "wide") == {("elastic", "two"): 2}


def test_whole_claims_that_need_not_go_are_put_back() -> None:
    """The idle one goes first; then the other has to go as well, and frees enough alone."""
    claims = (
        demand("small", "ada", 1, idle=True),
        demand("large", "bob", 3, min=3),
        demand("new", "cy", 1, unit=Resources(3000, 3072)),
    )
    leases = (Lease("small", "local", 1), Lease("large", "local", 3))
    snapshot = Snapshot((node(4),), (), claims, leases)
    assert gone(snapshot, {"small": 0, "large": 0, "new": 1}, "new") == {("large", "local"): 3}


def test_single_units_that_need_not_go_are_put_back() -> None:
    claims = (
        demand("elastic", "ada", 2),
        demand("large", "bob", 3, min=3),
        demand("new", "cy", 1, unit=Resources(3000, 3072)),
    )
    leases = (Lease("elastic", "local", 2), Lease("large", "local", 3))
    snapshot = Snapshot((node(5),), (), claims, leases)
    assert gone(snapshot, {"elastic": 1, "large": 0, "new": 1}, "new") == {("large", "local"): 3}


def crowded() -> Snapshot:
    """ada has both threads in two notebooks; bob and cy wait for one each."""
    mine = [demand(name, "ada", 1, submitted=n) for n, name in enumerate(("a", "b"))]
    others = [demand("y", "cy", 1, submitted=5.0), demand("x", "bob", 1, submitted=4.0)]
    return Snapshot((node(2),), (), (*mine, *others), (Lease("a", "local", 1), Lease("b", "local", 1)), 9.0)


def test_who_loses_everything_is_named_with_those_who_get_it() -> None:
    snapshot = crowded()
    alone = replace(snapshot, demands=tuple(d for d in snapshot.demands if d.claim != "y"))
    assert decide(alone).preemptions == (Preemption("b", ("x",)),)
    assert decide(snapshot).preemptions == (Preemption("b", ("x",)),)
    assert told(alone, Preemption("b", ("x",))) == (
        "All it had, 1 worker, was taken for bob's x.ipynb, below the fair share until then. "
        "It starts again by itself when its turn comes."
    )
    assert "for bob's x.ipynb and cy's y.ipynb" in told(snapshot, Preemption("b", ("x", "y")))


def test_of_a_users_own_claims_the_idle_one_goes() -> None:
    snapshot = crowded()
    demands = tuple(replace(d, idle=d.claim == "a") for d in snapshot.demands)
    assert [one.claim for one in decide(replace(snapshot, demands=demands)).preemptions] == ["a"]


def test_giving_back_is_no_preemption_and_a_lowered_limit_is() -> None:
    held = (Lease("a", "local", 2),)
    gives = Snapshot((node(2),), (), (demand("a", "ada", 0, min=0),), held)
    assert (decide(gives).shrinks, decide(gives).preemptions) == ((Change("a", "local", 2),), ())
    none = (Principal("cluster/default/ada", limit=Resources()),)
    limited = Snapshot((node(2),), none, (demand("a", "ada", 2),), held)
    plan = decide(limited)
    assert plan.preemptions == (Preemption("a", ()),)
    assert "because a limit or a machine is smaller now" in told(limited, plan.preemptions[0])


def begun(seconds: float, guard: int = 60) -> Snapshot:
    snapshot = crowded()
    demands = tuple(
        replace(d, started=1000.0 - seconds if d.claim in "ab" else None) for d in snapshot.demands
    )
    return replace(snapshot, demands=demands, now=1000.0, sharing=Sharing(guard=guard))


def test_a_claim_is_not_preempted_before_it_ran_for_a_while() -> None:
    plan = decide(begun(59))
    assert (plan.shrinks, plan.preemptions) == ((), ())
    assert "keeps its minimum for the first 60 s" in plan.reasons["x"]
    assert [one.claim for one in decide(begun(60)).preemptions] == ["b"]
    assert [one.claim for one in decide(begun(59, guard=0)).preemptions] == ["b"]


def test_what_is_above_its_minimum_goes_at_any_time() -> None:
    young = demand("a", "ada", 4, started=990.0)
    held = (Lease("a", "local", 4),)
    snapshot = Snapshot(
        (node(4),), (), (young, demand("b", "bob", 4)), held, 1000.0, sharing=Sharing(guard=60)
    )
    assert decide(snapshot).shrinks == (Change("a", "local", 2),)
    after = carry_out(snapshot, decide(snapshot))
    assert holdings(carry_out(after, decide(after))) == {"a": 2, "b": 2}


def test_a_claim_that_needs_nothing_to_go_on_has_no_minimum_to_keep() -> None:
    elastic, other = demand("a", "ada", 1, min=0, started=999.0), demand("b", "bob", 1, priority=1)
    snapshot = Snapshot((node(1),), (), (elastic, other), (Lease("a", "local", 1),), 1000.0)
    snapshot = replace(snapshot, sharing=Sharing(guard=60))
    plan = decide(snapshot)
    validate(snapshot, plan)
    assert plan.shrinks == (Change("a", "local", 1),)
    assert "minimum" not in plan.reasons["b"]


WHY = dict.fromkeys("abxy", "because")
TAKEN = (Change("b", "local", 1),)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (Plan(shrinks=TAKEN, reasons=WHY), "Claim b loses all it holds and is not named"),
        (Plan(preemptions=(Preemption("b"),), reasons=WHY), "Claim b keeps what it holds and is named"),
        (Plan(shrinks=TAKEN, preemptions=(Preemption("b", ("z",)),), reasons=WHY), "names claim z"),
        (Plan(shrinks=TAKEN, preemptions=(Preemption("b", ("b",)),), reasons=WHY), "for itself, or twice"),
        (Plan(shrinks=TAKEN, preemptions=(Preemption("b"),) * 2, reasons=WHY), "for itself, or twice"),
        (Plan(shrinks=TAKEN, preemptions=(Preemption("b"),), reasons=WHY), "began less than 60 s ago"),
    ],
)
def test_the_gate(plan: Plan, says: str) -> None:
    with pytest.raises(InvalidPlan, match=says):
        validate(begun(10), plan)
    validate(begun(70), Plan(shrinks=TAKEN, preemptions=(Preemption("b", ("x",)),), reasons=WHY))
