"""Why a claim holds what it holds, and what it could have at once, in one answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from aios_lab.allocation.decide import DEFAULT_POLICY, Policy, decide, policy_of
from aios_lab.allocation.replay import Replay, gives_more
from aios_lab.allocation.room import how_many, plus
from aios_lab.allocation.shares import Claimant, FairQueue, Tree, total_capacity
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Demand, Resources, Snapshot, Vector
from aios_lab.allocation.words import amounts, count, listed, memory_below, who

NAMED = 3  # claims ahead that are named before they are only counted


def explain(snapshot: Snapshot, claim: str, policy: str = DEFAULT_POLICY) -> str:
    """Why this claim holds what it holds, in plain words.

    Of one that waits for its first units: what is missing, who holds it, who comes before, and what would
    start at once if it asked for less.

    Raises:
        KeyError: the snapshot has no such claim; the message says so.
        InvalidSnapshot: as in ``decide``.
        ValueError: there is no such policy.
    """
    demand = next((one for one in snapshot.demands if one.claim == claim), None)
    if demand is None:
        raise KeyError(f"The snapshot has no claim {claim!r}.")
    plan = decide(snapshot, policy)
    reason = plan.reasons.get(claim)
    if reason is None:
        return f"It has all {count(demand.max)} that it asked for."
    held = {lease.claim for lease in snapshot.leases} | {change.claim for change in plan.grants}
    if claim in held or not reason.startswith("Waiting for"):
        return reason
    ahead = [] if "in the queue" in reason else _ahead(snapshot, demand, held)
    parts = [reason.removesuffix(".")]
    if ahead:
        verb = "is" if len(ahead) == 1 else "are"
        parts.append(f"{listed([who(one) for one in ahead[-NAMED:]], len(ahead))} {verb} ahead")
    parts.append(_at_once(snapshot, demand, policy_of(policy)))
    return "; ".join(parts) + "."


def _ahead(snapshot: Snapshot, demand: Demand, held: set[str]) -> list[Demand]:
    """Those who wait for their first units too, and come before it in fair order, the next one last."""
    waiting = [one for one in snapshot.demands if one.claim not in held and one.max]
    tree = Tree(snapshot.principals, total_capacity(snapshot))
    units = {one.claim: one for one in snapshot.demands}
    for lease in snapshot.leases:
        holder = units[lease.claim]
        tree.use_units(holder.principal, holder.unit.vector, lease.units)
    queue = FairQueue(tree, [Claimant(one, 0, one.unit.vector) for one in waiting])
    ahead: list[Demand] = []
    while (best := queue.best()) is not None and best.demand.claim != demand.claim:
        ahead.append(best.demand)
        queue.drop(best)
    return ahead


def _at_once(snapshot: Snapshot, demand: Demand, policy: Policy) -> str:
    """The most that would start now, or once others gave back what they had to: fewer workers, else one that
    is smaller."""
    without = Replay(snapshot, policy, {})
    without.settle()
    known = {one.claim: one for one in snapshot.demands}
    for less in _smaller(snapshot, demand):
        demands = tuple(less if one.claim == demand.claim else one for one in snapshot.demands)
        within = Replay(replace(snapshot, demands=demands), policy, {})
        within.settle()
        if units := within.units(demand.claim):
            of = "" if less.unit == demand.unit else f" with {amounts(less.unit)}"
            gives = gives_more(within, without, demand.claim)
            said = [f"{who(known[other])} gives back {count(more)}" for other, more in gives.items()]
            when = f"when {listed(said[:NAMED], len(said))}" if said else "now"
            return f"{count(units)}{of} would start {when}"
    return "nothing would start now"


def _smaller(snapshot: Snapshot, demand: Demand) -> Iterator[Demand]:
    free = _free(snapshot)
    fitting = sum(how_many(demand.unit.vector, room) for room in free)
    for units in dict.fromkeys((min(fitting, starting_units(demand) - 1), 1)):
        if 0 < units < starting_units(demand):
            yield replace(demand, min=units, max=units)
    unit = _what_fits(free, demand.unit)
    if unit is not None and unit != demand.unit:
        yield replace(demand, unit=unit, min=1, max=1)


def _free(snapshot: Snapshot) -> list[Vector]:
    """What is free on every node."""
    free = {node.name: node.capacity.vector for node in snapshot.nodes}
    units = {one.claim: one.unit.vector for one in snapshot.demands}
    for lease in snapshot.leases:
        free[lease.node] = plus(free[lease.node], units[lease.claim], -lease.units)
    return list(free.values())


def _what_fits(free: list[Vector], unit: Resources) -> Resources | None:
    """The part of a unit that the node with the most of it free has, in amounts that people ask for."""
    fitting = [fit for room in free if (fit := _fit(unit, room)) is not None]
    return max(fitting, key=lambda fit: (fit.gpu, fit.cpu, fit.memory), default=None)


def _fit(unit: Resources, room: Vector) -> Resources | None:
    """None where the room has nothing of a resource that the unit needs."""
    cpu, memory, gpu, gpu_memory = room
    gpu = min(unit.gpu, gpu // 1000 * 1000 if unit.gpu >= 1000 else gpu)
    if unit.gpu and unit.gpu_memory:
        gpu_memory = unit.gpu_memory * gpu // unit.gpu
    fit = Resources(
        min(unit.cpu, cpu // 1000 * 1000 if cpu >= 1000 else cpu),
        unit.memory if unit.memory <= memory else memory_below(memory),
        gpu,
        min(unit.gpu_memory, gpu_memory),
    )
    short = any(need and have <= 0 for need, have in zip(unit.vector, fit.vector, strict=True))
    return None if short else fit
