"""What holds for every snapshot."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import event, given
from hypothesis import strategies as st

from aios_lab.allocation import POLICIES, Resources, Snapshot, decide, validate
from aios_lab.allocation.placement.rooms import FIRST
from aios_lab.allocation.shares import Tree, total_capacity
from allocation.snapshots import carry_out, holdings, snapshots


def settle(snapshot: Snapshot, policy: str = "fair_share") -> tuple[Snapshot, int]:
    """Decide and carry out until there is nothing left to do; and how many rounds it took."""
    for rounds in range(30):
        plan = decide(snapshot, policy)
        validate(snapshot, plan)
        if not plan.grants and not plan.shrinks:
            return snapshot, rounds
        snapshot = carry_out(snapshot, plan)
    raise AssertionError(f"no rest after 30 rounds: {snapshot}")


policies = st.sampled_from(sorted(POLICIES))


@given(snapshots(), policies)
def test_every_plan_passes_the_gate(snapshot: Snapshot, policy: str) -> None:
    """Conservation per node and resource, limits, minimum or nothing, floors, reasons."""
    validate(snapshot, decide(snapshot, policy))


@given(snapshots(), policies, st.randoms(use_true_random=False))
def test_order_of_the_snapshot_does_not_matter(snapshot: Snapshot, policy: str, random: Random) -> None:
    def shuffled(items: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(random.sample(items, len(items)))

    other = Snapshot(
        shuffled(snapshot.nodes),
        shuffled(snapshot.principals),
        shuffled(snapshot.demands),
        shuffled(snapshot.leases),
        snapshot.now,
        snapshot.placement,
        shuffled(snapshot.usage),
        snapshot.sharing,
    )
    assert decide(snapshot, policy) == decide(snapshot, policy) == decide(other, policy)


@given(snapshots(), policies)
def test_it_comes_to_rest(snapshot: Snapshot, policy: str) -> None:
    _, rounds = settle(snapshot, policy)
    event(f"rounds: {rounds}")


@given(snapshots())
def test_nobody_is_preempted_twice_on_the_way_to_rest(snapshot: Snapshot) -> None:
    """No cycle of preempting and granting again."""
    preempted: list[str] = []
    for _ in range(30):
        plan = decide(snapshot)
        if not plan.grants and not plan.shrinks:
            break
        preempted += [one.claim for one in plan.preemptions]
        snapshot = carry_out(snapshot, plan)
    assert len(preempted) == len(set(preempted))
    event(f"preempted: {len(preempted)}")


@given(snapshots(), st.sampled_from([1, 3, 10**6]))
def test_usage_counts_by_its_proportions_alone(snapshot: Snapshot, times: int) -> None:
    """A cluster, quotas and units so many times as large, used alike, are shared alike; placed by a rule that
    does not look at devices, of which there are so many more."""
    snapshot = replace(snapshot, placement=FIRST)

    def scaled(amount: Resources) -> Resources:
        return amount * times

    larger = replace(
        snapshot,
        nodes=tuple(replace(n, capacity=scaled(n.capacity)) for n in snapshot.nodes),
        principals=tuple(
            replace(p, quota=scaled(p.quota), limit=None if p.limit is None else scaled(p.limit))
            for p in snapshot.principals
        ),
        demands=tuple(replace(d, unit=scaled(d.unit)) for d in snapshot.demands),
        usage=tuple(replace(u, amount=scaled(u.amount)) for u in snapshot.usage),
    )
    plan, other = decide(snapshot), decide(larger)
    assert (plan.grants, plan.shrinks, plan.preemptions) == (other.grants, other.shrinks, other.preemptions)


@given(snapshots())
def test_nobody_waits_while_room_is_free(snapshot: Snapshot) -> None:
    """At rest, no claim could have one more unit, or its minimum, in the room that is free."""
    rest, _ = settle(snapshot)
    held = holdings(rest)
    tree = Tree(rest.principals, total_capacity(rest))
    free = {node.name: node.capacity for node in rest.nodes}
    demands = {demand.claim: demand for demand in rest.demands}
    for lease in rest.leases:
        free[lease.node] -= demands[lease.claim].unit * lease.units
        tree.use(demands[lease.claim].principal, demands[lease.claim].unit * lease.units)
    for claim, demand in demands.items():
        starts = held[claim] >= demand.min - 1
        if held[claim] < demand.max and starts and tree.over_limit(demand.principal, demand.unit) is None:
            assert not any(demand.unit.fits_in(room) for room in free.values()), claim


@given(snapshots(nodes=1))
def test_on_one_machine_it_is_soon_at_rest(snapshot: Snapshot) -> None:
    """Shrink, then grant. A round more where a start changes who comes first: what may not be taken back
    counts before all else once it is held, and of equals who holds something goes first."""
    _, rounds = settle(snapshot)
    assert rounds <= 4


@given(snapshots(nodes=1, holding=False))
def test_quotas_that_fit_are_guaranteed(snapshot: Snapshot) -> None:
    """A user whose claims fit into a quota, all quotas fitting into the machine, has all that was asked."""
    quotas = [p for p in snapshot.principals if p.quota != Resources() and p.path.count("/") == 2]
    room = sum((p.quota for p in quotas), Resources())
    plain = replace(
        snapshot,
        principals=tuple(replace(p, limit=None) for p in quotas),
        demands=tuple(d for d in snapshot.demands if d.unit.gpu == 0),
    )
    if not room.fits_in(snapshot.nodes[0].capacity):
        return
    rest, _ = settle(plain)
    held = holdings(rest)
    for principal in quotas:
        mine = [d for d in plain.demands if d.principal == principal.path]
        if sum((d.unit * d.max for d in mine), Resources()).fits_in(principal.quota):
            assert all(held[d.claim] == d.max for d in mine)
