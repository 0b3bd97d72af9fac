"""One decision after another is what deciding each one alone would be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from aios_lab.allocation import (
    POLICIES,
    Decider,
    Demand,
    Lease,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    decide,
)
from allocation.snapshots import carry_out, demand, node, snapshots

EVENTS = ("joins", "joins behind", "leaves", "changes", "plan", "lease goes", "time", "quota")


@st.composite
def after_event(draw: st.DrawFn, snapshot: Snapshot) -> Snapshot:
    """The snapshot after something happened; claims that wait are what most of it happens to."""
    kind = draw(st.sampled_from(EVENTS))
    held = {lease.claim for lease in snapshot.leases}
    demands = list(snapshot.demands)
    waiting = [one for one in demands if one.claim not in held] or demands
    if kind == "plan":
        return carry_out(snapshot, decide(snapshot))
    if kind == "time":
        return replace(snapshot, now=snapshot.now + 1)
    if kind == "quota":
        return replace(snapshot, principals=snapshot.principals[1:])
    if kind == "lease goes":
        return replace(snapshot, leases=snapshot.leases[1:])
    if not demands:
        return snapshot
    one = draw(st.sampled_from(waiting if draw(st.integers(0, 3)) else demands))
    if kind == "joins" or kind == "joins behind":
        number = max(int(other.claim[2:]) for other in demands) + 1
        later = 9.0 if kind == "joins behind" else float(draw(st.integers(0, 3)))
        new = replace(one, claim=f"s-{number}", submitted=later, min=one.min + draw(st.integers(0, 1)))
        return replace(snapshot, demands=(*demands, replace(new, max=max(new.min, new.max))))
    demands.remove(one)
    leases = snapshot.leases
    if kind == "changes":
        size = draw(st.integers(0, 4))
        changed = replace(one, priority=draw(st.integers(0, 1)), max=size, min=min(size, one.min))
        demands.insert(draw(st.integers(0, len(demands))), changed)
    else:
        leases = tuple(lease for lease in leases if lease.claim != one.claim)
    return replace(snapshot, demands=tuple(demands), leases=leases)


@given(st.data(), snapshots(claims=9), st.sampled_from(["fair_share"] * 9 + sorted(POLICIES)))
def test_every_plan_of_a_sequence_is_that_of_its_snapshot(
    data: st.DataObject, snapshot: Snapshot, policy: str
) -> None:
    decider = Decider(policy)
    for _ in range(data.draw(st.integers(1, 5))):
        plan, alone = decider.decide(snapshot), decide(snapshot, policy)
        assert plan == alone
        assert list(plan.reasons.items()) == list(alone.reasons.items())
        snapshot = data.draw(after_event(snapshot))
    event(f"reused: {decider.reused}")


def full() -> Snapshot:
    """One machine, all of which ada's first claim holds and keeps; bob waits, and ada's second claim."""
    kept = demand("a-1", "ada", 4, preemptible=False)
    demands = (kept, demand("a-2", "ada", 2, submitted=1.0), demand("b-1", "bob", 2, submitted=2.0))
    return Snapshot((node(4),), (), demands, (Lease("a-1", "local", 4),))


def reused(before: Snapshot, after: Snapshot) -> bool:
    """Whether the second plan needed no new division; either way it is the right one."""
    decider = Decider()
    decider.decide(before)
    assert decider.decide(after) == decide(after)
    return decider.reused == 1


def with_one_more(snapshot: Snapshot, one: Demand) -> Snapshot:
    return replace(snapshot, demands=(*snapshot.demands, one))


def test_time_alone_changes_nothing() -> None:
    assert reused(full(), replace(full(), now=9.0))


def test_a_clock_that_was_set_back_makes_a_claim_guarded_later() -> None:
    """Started at 100 by the old clock: not guarded at 99.5, guarded from 100 on."""
    holder = demand("a", "ada", 1, started=100.0)
    first = (Principal("cluster/default/bob", priority=1),)
    claims = (holder, demand("b", "bob", 1))
    snapshot = Snapshot((node(1),), first, claims, (Lease("a", "local", 1),), 99.5)
    snapshot = replace(snapshot, sharing=Sharing(guard=60))
    assert decide(snapshot).preemptions
    assert not reused(snapshot, replace(snapshot, now=101.0))


def test_who_joins_behind_one_that_waits_only_gets_a_reason() -> None:
    after = with_one_more(full(), demand("b-2", "bob", 3, submitted=3.0))
    assert reused(full(), after)
    assert reused(after, full())
    assert "ada's a-1.ipynb holds 4 of 4 CPU threads" in decide(after).reasons["b-2"]


def test_who_may_be_served_first_is_decided_on() -> None:
    bob = demand("b-2", "bob", 3, submitted=3.0)
    assert not reused(full(), with_one_more(full(), replace(bob, priority=1)))
    assert not reused(full(), with_one_more(full(), replace(bob, submitted=1.0)))
    assert not reused(full(), with_one_more(full(), replace(bob, unit=Resources(cpu=500))))
    assert not reused(full(), with_one_more(full(), demand("c-1", "cy", 1, submitted=3.0)))


def test_what_frees_room_is_decided_on() -> None:
    snapshot = full()
    assert not reused(snapshot, replace(snapshot, leases=(Lease("a-1", "local", 3),)))
    assert not reused(snapshot, replace(snapshot, demands=snapshot.demands[1:], leases=()))
    assert not reused(snapshot, replace(snapshot, nodes=(node(5),)))
    assert not reused(snapshot, replace(snapshot, principals=(Principal("cluster/default/bob", 200),)))
