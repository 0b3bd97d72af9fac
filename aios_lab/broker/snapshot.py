"""The broker's state as the allocation core sees it, and as the ledger keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from aios_lab.allocation import (
    Demand,
    Lease,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    Usage,
)
from aios_lab.allocation.placement import DEFAULT_PLACEMENT, typical_units
from aios_lab.broker.accounts import Accounts
from aios_lab.broker.claims import PRIORITIES
from aios_lab.broker.quotas import Quotas, principal_path
from aios_lab.broker.slices import Slice
from aios_lab.broker.views import short_name
from aios_lab.engines.base import Inventory

T = TypeVar("T")


# A project and a user.
Member = tuple[str, str]


def take_snapshot(
    inventory: Inventory,
    quotas: Quotas,
    slices: Iterable[Slice],
    accounts: Accounts,
    idle: Callable[[Slice], bool],
    now: float,
    others: Iterable[Member] = (),
) -> Snapshot:
    """All that a decision may depend on. Claims that sleep or are parked and hold nothing are no part of it.
    ``idle`` says whether nothing happens in a slice: one that holds nothing can be idle only when everything
    was taken from it. ``others`` have no claim, but their principals are of interest."""
    living = sorted((one for one in slices if one.asks or one.held), key=lambda one: one.id)
    members = {(one.claim.project, one.owner.user) for one in living} | {*others}
    leases = (
        Lease(one.id, node, units) for one in living for node, units in sorted(one.units.items()) if units
    )
    demands = tuple(demand_of(one, bool(one.held or one.taken) and idle(one)) for one in living)
    asked = ((demand.unit, max(1, demand.max)) for demand in demands)
    placement = Placement(quotas.placement, typical_units(asked) if quotas.placement == "fgd" else ())
    principals = quotas.principals(sorted(members))
    usage = accounts.usage((one.path for one in principals), quotas.sharing, now)
    return Snapshot(
        inventory.nodes, principals, demands, tuple(leases), now, placement, usage, quotas.sharing
    )


def demand_of(one: Slice, idle: bool = False) -> Demand:
    """What a slice wants. One that gives back, or changes the size of its units, wants none of its present
    shape; a run that is on it keeps its units until it ends."""
    claim = one.claim
    leaves = not one.wanted or one.reshaping
    most = claim.max if one.cap is None else min(claim.max, one.cap)
    return Demand(
        claim=one.id,
        principal=principal_path(claim.project, one.owner.user),
        unit=one.unit if one.held else claim.unit,
        min=0 if leaves else min(claim.min, most),
        max=0 if leaves else most,
        priority=PRIORITIES[claim.priority],
        preemptible=claim.preemptible,
        submitted=one.asked or one.created,
        duration=claim.duration,
        floor=min(one.floor, one.held),
        name=short_name(one),
        started=one.began,
        idle=idle,
    )


def plan_record(snapshot: Snapshot, policy: str, plan: Plan) -> dict[str, Any]:
    """A decision as the ledger keeps it: enough to replay and audit it (see ``recorded_snapshot``)."""
    fields = asdict(snapshot) | {"leases": [lease._asdict() for lease in snapshot.leases]}
    seen = json.dumps(_slim(fields), sort_keys=True, separators=(",", ":"))
    return {
        "policy": policy,
        "hash": hashlib.sha256(seen.encode()).hexdigest(),
        "snapshot": json.loads(seen),
        "grants": [change._asdict() for change in plan.grants],
        "shrinks": [change._asdict() for change in plan.shrinks],
        "preemptions": [{"claim": one.claim, "by": [*one.by]} for one in plan.preemptions],
    } | ({"note": plan.note} if plan.note else {})


def recorded_snapshot(record: Mapping[str, Any]) -> Snapshot:
    """What a recorded decision depended on: ``decide`` makes the same plan of it. In records of before there
    was usage, it counts for nothing."""
    seen = record["snapshot"]
    return Snapshot(
        nodes=tuple(Node(one["name"], Resources(**one["capacity"])) for one in seen["nodes"]),
        principals=tuple(_with_vectors(Principal, one, "quota", "limit") for one in seen["principals"]),
        demands=tuple(_with_vectors(Demand, one, "unit") for one in seen["demands"]),
        leases=tuple(Lease(**one) for one in seen["leases"]),
        now=seen["now"],
        placement=_placement(seen.get("placement", {})),
        usage=tuple(_with_vectors(Usage, one, "amount") for one in seen.get("usage", ())),
        sharing=Sharing(**seen.get("sharing", {})),
    )


def _placement(one: Mapping[str, Any]) -> Placement:
    """That of a snapshot; those of older records had none, which is the first of all."""
    expected = ((Resources(**unit), count) for unit, count in one.get("expected", ()))
    return Placement(one.get("rule", DEFAULT_PLACEMENT), tuple(expected))


def _with_vectors(kind: Callable[..., T], fields: Mapping[str, Any], *vectors: str) -> T:
    vectors_of = {name: Resources(**fields[name]) for name in vectors if fields[name] is not None}
    return kind(**{**fields, **vectors_of})


def _slim(value: Any) -> Any:
    """Without the nothings of resource vectors: most have no accelerators."""
    if isinstance(value, dict):
        vector = set(value) == set(Resources.__slots__)
        return {name: _slim(part) for name, part in value.items() if not vector or part}
    return [_slim(part) for part in value] if isinstance(value, list | tuple) else value
