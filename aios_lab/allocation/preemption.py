"""Claims that lose everything: which they are, for whom, and which of them may not yet."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from aios_lab.allocation.shares import held_units
from aios_lab.allocation.types import Change, Demand, Plan, Preemption, Resources, Snapshot
from aios_lab.allocation.words import count, listed, who

NAMED = 3  # claims that a sentence names before it only counts them


def preemptions(snapshot: Snapshot, plan: Plan, targets: Mapping[str, int]) -> tuple[Preemption, ...]:
    """The claims that the plan takes everything from though they want to keep it, by id, each with those who
    wait for room that it holds."""
    demands = {demand.claim: demand for demand in snapshot.demands}
    held = {claim: sum(nodes.values()) for claim, nodes in held_units(snapshot).items()}
    less, more = _sums(plan.shrinks), _sums(plan.grants)
    victims = [claim for claim in sorted(less) if taken_whole(demands[claim], held[claim], less[claim])]
    if not victims:
        return ()
    waiting = sorted(
        (d for d in snapshot.demands if targets[d.claim] > held.get(d.claim, 0) + more.get(d.claim, 0)),
        key=lambda d: (d.submitted, d.claim),
    )
    rooms = {node.name: node.capacity for node in snapshot.nodes}
    places: dict[str, set[Resources]] = {}
    for change in plan.shrinks:
        places.setdefault(change.claim, set()).add(rooms[change.node])
    # Many victims are of the same shape on the same kinds of nodes.
    units = {demand.unit for demand in waiting}
    helped: dict[tuple[Resources, frozenset[Resources]], tuple[str, ...]] = {}
    found = []
    for victim in victims:
        case = demands[victim].unit, frozenset(places[victim])
        if case not in helped:
            served = {unit for unit in units if _helps(*case, unit)}
            helped[case] = tuple(demand.claim for demand in waiting if demand.unit in served)
        found.append(Preemption(victim, helped[case]))
    return tuple(found)


def taken_whole(demand: Demand, held: int, less: int) -> bool:
    """Whether a claim that holds so much loses all of it, and not because its owner gives it back."""
    return 0 < held == less and demand.max > 0


def guarded(demand: Demand, snapshot: Snapshot) -> bool:
    """Whether the claim began so lately that it keeps its minimum, whoever wants it.

    As KAI's minimum runtime: a claim is not preempted before it has run for so long, and what it holds above
    its minimum may go at any time: all of it where the minimum is nothing. What lies idle needs no guard.
    """
    began, least = demand.started, min(demand.min, demand.max)
    return (
        not demand.idle
        and began is not None
        and least > 0
        and began <= snapshot.now < began + snapshot.sharing.guard
    )


def guarded_until(snapshot: Snapshot) -> float:
    """When it changes next who is guarded; never where nothing is to change. A clock that was set back puts
    some starts in the future."""
    guard, now = snapshot.sharing.guard, snapshot.now
    starts = [demand.started for demand in snapshot.demands if demand.started is not None] if guard else []
    changes = (time for began in starts for time in (began, began + guard) if time > now)
    return min(changes, default=math.inf)


def with_guard(snapshot: Snapshot) -> Snapshot:
    """The same with the minimum of guarded claims among what may not be taken (``floor``)."""
    if not snapshot.sharing.guard or not any(guarded(demand, snapshot) for demand in snapshot.demands):
        return snapshot
    demands = tuple(
        replace(demand, floor=max(demand.floor, min(demand.min, demand.max)))
        if guarded(demand, snapshot)
        else demand
        for demand in snapshot.demands
    )
    return replace(snapshot, demands=demands)


def _helps(left: Resources, nodes: Collection[Resources], wanted: Resources) -> bool:
    """Whether a unit that is waited for could use what is left of other units on nodes of these kinds."""
    shared = any(a and b for a, b in zip(left.vector, wanted.vector, strict=True))
    return shared and any(wanted.fits_in(room) for room in nodes)


def told(snapshot: Snapshot, preemption: Preemption) -> str:
    """To the owner of a claim that loses everything: for whom, and what becomes of it."""
    demands = {demand.claim: demand for demand in snapshot.demands}
    lent = demands[preemption.claim].idle
    held = sum(lease.units for lease in snapshot.leases if lease.claim == preemption.claim)
    names = [who(demands[claim]) for claim in preemption.by[:NAMED]]
    whom = listed(names, len(preemption.by)) if names else ""
    if lent and whom:
        was = "worker was" if held == 1 else "workers were"
        return f"Parked: its {was} lent to {whom} while it did nothing; run a cell and {_they(held)} back."
    why = (
        f"for {whom}, below the fair share until then"
        if whom
        else "because a limit or a machine is smaller now"
    )
    was = "was" if held == 1 else "were"
    return f"All it had, {count(held)}, {was} taken {why}. It starts again by itself when its turn comes."


def _they(held: int) -> str:
    return "it comes" if held == 1 else "they come"


def _sums(changes: tuple[Change, ...]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for change in changes:
        sums[change.claim] = sums.get(change.claim, 0) + change.units
    return sums
