"""The one entry point of the core: a snapshot in, a plan out. Pure, deterministic, total."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from aios_lab.allocation.fair_share import fair_share
from aios_lab.allocation.preemption import preemptions
from aios_lab.allocation.queue import BACKFILLS, ORDERS, queue_policy
from aios_lab.allocation.reasons import reasons
from aios_lab.allocation.types import Plan, Snapshot
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
    """Raise InvalidSnapshot unless names are unique and point to something, and no amount is negative."""
    nodes = _unique("node", [node.name for node in snapshot.nodes])
    _unique("principal", [principal.path for principal in snapshot.principals])
    claims = _unique("claim", [demand.claim for demand in snapshot.demands])
    for node in snapshot.nodes:
        if min(node.capacity.vector) < 0:
            raise InvalidSnapshot(f"The capacity of node {node.name} has a negative amount.")
    for demand in snapshot.demands:
        if demand.min < 0 or demand.max < 0 or demand.floor < 0 or min(demand.unit.vector) < 0:
            raise InvalidSnapshot(f"The demand of claim {demand.claim} has a negative amount.")
    _check_usage(snapshot)
    for claim, place, units in snapshot.leases:
        if units < 0:
            raise InvalidSnapshot(f"The lease of claim {claim} has a negative amount.")
        if claim not in claims:
            raise InvalidSnapshot(f"A lease names claim {claim}, which demands nothing.")
        if place not in nodes:
            raise InvalidSnapshot(f"Claim {claim} has a lease on node {place}, which is not there.")


def _check_usage(snapshot: Snapshot) -> None:
    _unique("account of usage", [used.principal for used in snapshot.usage])
    for used in snapshot.usage:
        if min(used.amount.vector) < 0:
            raise InvalidSnapshot(f"The usage of {used.principal} has a negative amount.")
    for name in ("half_life", "k", "hysteresis", "guard", "charge"):
        if getattr(snapshot.sharing, name) < 0:
            raise InvalidSnapshot(f"The {name} of fair share is negative.")


def _unique(kind: str, names: list[str]) -> set[str]:
    unique = set(names)
    if len(unique) < len(names):
        twice = min(name for name, times in Counter(names).items() if times > 1)
        raise InvalidSnapshot(f"There is more than one {kind} called {twice}.")
    return unique
