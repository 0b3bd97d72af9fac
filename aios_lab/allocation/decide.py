"""The one entry point of the core: a snapshot in, a plan out. Pure, deterministic, total."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import inf, isfinite
from typing import get_args

from aios_lab.allocation.fair_share import fair_share
from aios_lab.allocation.preemption import preemptions
from aios_lab.allocation.queue import BACKFILLS, ORDERS, queue_policy
from aios_lab.allocation.reasons import reasons
from aios_lab.allocation.types import Demand, Order, Plan, Principal, Resources, Snapshot
from aios_lab.allocation.utility.policy import PROGRAMS, utility_policy

# What a policy decides: a plan, whose reasons are at most what a queue says of those who wait, and how many
# units every claim should have.
Policy = Callable[[Snapshot], tuple[Plan, Mapping[str, int]]]

DEFAULT_POLICY = "fair_share"
POLICIES: Mapping[str, Policy] = (
    {DEFAULT_POLICY: fair_share}
    | {
        name + ("" if backfill == "none" else f"+{backfill}"): queue_policy(order, backfill)
        for name, order in ORDERS.items()
        for backfill in BACKFILLS
    }
    | {name: utility_policy(program) for name, program in PROGRAMS.items()}
)


class InvalidSnapshot(ValueError):
    """The snapshot contradicts itself; the message names the part."""


def decide(snapshot: Snapshot, policy: str = DEFAULT_POLICY) -> Plan:
    """Who gets units now, who gives some back, and why everybody else waits.

    Grants use only room that is free now. What shrinks free is granted by a later decision, when the
    leases are gone from the snapshot. ``policy`` is one of ``POLICIES``: the default, a program such as
    "utility", or an order of a queue, alone or with a backfill, such as "sjf+easy".

    Raises:
        InvalidSnapshot: names are not unique, an amount is negative, or a lease has no claim or no node.
        ValueError: there is no such policy.
    """
    decided = policy_of(policy)
    with without_collections():
        check(snapshot)
        plan, targets = decided(snapshot)
        plan = replace(plan, preemptions=preemptions(snapshot, plan, targets))
        return replace(plan, reasons=reasons(snapshot, plan, targets))


@contextmanager
def without_collections() -> Iterator[None]:
    """Python looks for cycles whenever many objects were made. A decision makes many, but hardly a cycle, and
    at thousands of claims looking for them was a fifth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def policy_of(policy: str) -> Policy:
    """The bare policy, for who decides a million times: it neither checks the snapshot nor gives reasons.

    Raises:
        ValueError: there is no such policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"There is no policy {policy!r}; there are: {', '.join(POLICIES)}.")
    return POLICIES[policy]


def check(snapshot: Snapshot) -> None:
    """Raise InvalidSnapshot unless names are unique and point to something, amounts are whole numbers of 0 or
    more, and times are finite."""
    nodes = _unique("node", [node.name for node in snapshot.nodes])
    _unique("principal", [principal.path for principal in snapshot.principals])
    claims = _unique("claim", [demand.claim for demand in snapshot.demands])
    for node in snapshot.nodes:
        _check_amounts(node.capacity, f"The capacity of node {node.name}")
    for principal in snapshot.principals:
        _check_principal(principal)
    sound: set[Resources] = set()
    known: set[str] = set()
    for demand in snapshot.demands:
        if demand.unit not in sound:
            _check_amounts(demand.unit, f"The unit of claim {demand.claim}")
            sound.add(demand.unit)
        if demand.principal not in known:
            _check_path(demand.principal)
            known.add(demand.principal)
        least, most, floor = demand.min, demand.max, demand.floor
        if not (isinstance(least, int) and isinstance(most, int) and isinstance(floor, int)):
            raise InvalidSnapshot(f"The demand of claim {demand.claim} has units that are no whole number.")
        if least < 0 or most < 0 or floor < 0:
            raise InvalidSnapshot(f"The demand of claim {demand.claim} has a negative amount.")
        _check_times(demand)
    if not isfinite(snapshot.now):
        raise InvalidSnapshot(f"The time is {snapshot.now}: give seconds since the epoch.")
    _check_usage(snapshot)
    for claim, place, units in snapshot.leases:
        if not units >= 0:
            raise InvalidSnapshot(f"The lease of claim {claim} has a negative amount.")
        if claim not in claims:
            raise InvalidSnapshot(f"A lease names claim {claim}, which demands nothing.")
        if place not in nodes:
            raise InvalidSnapshot(f"Claim {claim} has a lease on node {place}, which is not there.")


def _check_amounts(amounts: Resources, whose: str) -> None:
    for name, amount in amounts.items():
        if not isinstance(amount, int):
            raise InvalidSnapshot(f"{whose} has {name} {amount!r}: give a whole number.")
        if amount < 0:
            raise InvalidSnapshot(f"{whose} has a negative amount of {name}: {amount}.")


def _check_times(demand: Demand) -> None:
    duration = demand.duration
    if not isfinite(demand.submitted) or not isfinite(demand.started or 0.0):
        raise InvalidSnapshot(f"The demand of claim {demand.claim} has a time that is not finite.")
    if duration is not None and not 0 <= duration < inf:
        raise InvalidSnapshot(f"The duration of claim {demand.claim} is {duration}: give seconds, or None.")


def _check_path(path: str) -> None:
    if not isinstance(path, str) or (path and not all(path.split("/"))):
        raise InvalidSnapshot(f"The principal {path!r} is no path such as 'cluster/project/user'.")


def _check_principal(principal: Principal) -> None:
    _check_path(principal.path)
    weight = principal.weight
    if not isinstance(weight, int) or weight < 0:
        raise InvalidSnapshot(
            f"The weight of principal {principal.path} is {weight!r}: give a whole number, 0 or more."
        )
    _check_amounts(principal.quota, f"The quota of principal {principal.path}")
    if principal.limit is not None:
        _check_amounts(principal.limit, f"The limit of principal {principal.path}")


def _check_usage(snapshot: Snapshot) -> None:
    _unique("account of usage", [used.principal for used in snapshot.usage])
    for used in snapshot.usage:
        _check_amounts(used.amount, f"The usage of {used.principal}")
    for name in ("half_life", "k", "hysteresis", "guard", "charge"):
        if not getattr(snapshot.sharing, name) >= 0:
            raise InvalidSnapshot(f"The {name} of fair share is negative.")
    order, orders = snapshot.sharing.order, get_args(Order)
    if order not in orders:
        raise InvalidSnapshot(f"There is no order {order!r} of fair share; there are: {', '.join(orders)}.")


def _unique(kind: str, names: list[str]) -> set[str]:
    unique = set(names)
    if len(unique) < len(names):
        twice = min(name for name, times in Counter(names).items() if times > 1)
        raise InvalidSnapshot(f"There is more than one {kind} called {twice}.")
    return unique
