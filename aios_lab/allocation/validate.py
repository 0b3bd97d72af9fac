"""The gate: whatever policy made a plan, these rules hold before anything acts on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from aios_lab.allocation.preemption import guarded, taken_whole
from aios_lab.allocation.shares import Tree, held_units, total_capacity
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Change, Demand, Plan, Resources, Snapshot


class InvalidPlan(ValueError):
    """The plan breaks a rule; the message says which, and for whom."""


def validate(snapshot: Snapshot, plan: Plan) -> None:
    """Check a plan against its snapshot.

    Rules: changes are positive and name what is there; nobody gives more than he holds; grants fit into what
    is free now, on every node and in every resource, and under every limit; a claim starts with its minimum
    or not at all; nobody gets more than his maximum; shrinking stops at the floor, and at the minimum unless
    the claim is released whole; a claim that is not preemptible gives back only what is above its maximum;
    every claim that ends with less than its maximum has a reason; the claims that lose everything though they
    want to keep it, and no others, are named as preempted, and none of them began less than the guard ago.

    Raises:
        InvalidPlan: a rule is broken.
    """
    demands = {demand.claim: demand for demand in snapshot.demands}
    held = held_units(snapshot)
    _names(snapshot, plan, demands)
    _shrinks(plan, held)
    _conservation(snapshot, plan, demands, held)
    _limits(snapshot, plan, demands, held)
    shrunk, granted = _units(plan.shrinks), _units(plan.grants)
    for claim, demand in demands.items():
        had = sum(held.get(claim, {}).values())
        _claim(demand, had, shrunk[claim], granted[claim])
        left = had - shrunk[claim] + granted[claim]
        if left < demand.max and not plan.reasons.get(claim):
            raise InvalidPlan(
                f"Claim {claim} ends with {left} of {demand.max} units, and the plan gives no reason."
            )
    _preemptions(snapshot, plan, demands, held)


def _units(changes: tuple[Change, ...]) -> Counter[str]:
    """Units by claim."""
    units: Counter[str] = Counter()
    for change in changes:
        units[change.claim] += change.units
    return units


def _names(snapshot: Snapshot, plan: Plan, demands: Mapping[str, Demand]) -> None:
    nodes = {node.name for node in snapshot.nodes}
    for change in (*plan.grants, *plan.shrinks):
        if change.units <= 0:
            raise InvalidPlan(
                f"A change of claim {change.claim} on {change.node} is not positive: {change.units}."
            )
        if change.claim not in demands:
            raise InvalidPlan(f"The plan names claim {change.claim}, which the snapshot does not have.")
        if change.node not in nodes:
            raise InvalidPlan(f"The plan names node {change.node}, which the snapshot does not have.")


def _shrinks(plan: Plan, held: Mapping[str, Mapping[str, int]]) -> None:
    taken: dict[tuple[str, str], int] = {}
    for change in plan.shrinks:
        key = (change.claim, change.node)
        taken[key] = taken.get(key, 0) + change.units
        there = held.get(change.claim, {}).get(change.node, 0)
        if taken[key] > there:
            raise InvalidPlan(
                f"Claim {change.claim} holds {there} units on {change.node} and should give {taken[key]}."
            )


def _preemptions(
    snapshot: Snapshot, plan: Plan, demands: Mapping[str, Demand], held: Mapping[str, Mapping[str, int]]
) -> None:
    named = [one.claim for one in plan.preemptions]
    for one in plan.preemptions:
        if strangers := {one.claim, *one.by} - demands.keys():
            raise InvalidPlan(f"A preemption names claim {min(strangers)}, which the snapshot does not have.")
        if one.claim in one.by or named.count(one.claim) > 1:
            raise InvalidPlan(f"Claim {one.claim} is preempted for itself, or twice.")
    shrunk = _units(plan.shrinks)
    for claim, demand in demands.items():
        whole = taken_whole(demand, sum(held.get(claim, {}).values()), shrunk[claim])
        if whole != (claim in named):
            wrong = "loses all it holds and is not named" if whole else "keeps what it holds and is named"
            raise InvalidPlan(f"Claim {claim} {wrong} among the preemptions.")
        if whole and guarded(demand, snapshot):
            raise InvalidPlan(
                f"Claim {claim} began less than {snapshot.sharing.guard} s ago and would lose everything."
            )


def _conservation(
    snapshot: Snapshot, plan: Plan, demands: Mapping[str, Demand], held: Mapping[str, Mapping[str, int]]
) -> None:
    """Grants count on top of all that is held: what shrinks is not free yet."""
    used = {node.name: Resources() for node in snapshot.nodes}
    for claim, nodes in held.items():
        for node, units in nodes.items():
            used[node] += demands[claim].unit * units
    for grant in plan.grants:
        used[grant.node] += demands[grant.claim].unit * grant.units
    capacity = {node.name: node.capacity for node in snapshot.nodes}
    for grant in plan.grants:
        for resource, need in demands[grant.claim].unit.items():
            if need and getattr(used[grant.node], resource) > getattr(capacity[grant.node], resource):
                raise InvalidPlan(f"The plan grants more {resource} on {grant.node} than is free.")


def _limits(
    snapshot: Snapshot, plan: Plan, demands: Mapping[str, Demand], held: Mapping[str, Mapping[str, int]]
) -> None:
    tree = Tree(snapshot.principals, total_capacity(snapshot))
    for claim, nodes in held.items():
        tree.use(demands[claim].principal, demands[claim].unit * sum(nodes.values()))
    for grant in plan.grants:
        demand = demands[grant.claim]
        tree.use(demand.principal, demand.unit * grant.units)
    for claim in {grant.claim for grant in plan.grants}:
        for name in tree.path(demands[claim].principal):
            limit = tree.principals[name].limit
            for resource, need in demands[claim].unit.items():
                if (
                    limit is not None
                    and need
                    and getattr(tree.usage(name), resource) > getattr(limit, resource)
                ):
                    raise InvalidPlan(f"The grant to claim {claim} exceeds the {resource} limit of {name}.")


def _claim(demand: Demand, held: int, shrunk: int, granted: int) -> None:
    left = held - shrunk
    if shrunk and granted:
        raise InvalidPlan(f"Claim {demand.claim} both gives and gets.")
    if granted and left + granted > demand.max:
        raise InvalidPlan(
            f"Claim {demand.claim} gets {left + granted} units, and asked for {demand.max} at most."
        )
    if granted and not held and granted < starting_units(demand):
        raise InvalidPlan(
            f"Claim {demand.claim} starts with {granted} units, and its minimum is {demand.min}."
        )
    if not shrunk:
        return
    if left < min(held, demand.floor):
        raise InvalidPlan(
            f"Claim {demand.claim} would fall to {left} units, below its floor of {demand.floor}."
        )
    if 0 < left < starting_units(demand):
        raise InvalidPlan(
            f"Claim {demand.claim} would fall to {left} units, below its minimum of {demand.min}."
        )
    if not demand.preemptible and left < demand.max:
        raise InvalidPlan(f"Claim {demand.claim} is not preemptible and would be shrunk to {left} units.")
