"""How KAI Scheduler divides each resource between the queues of one level.

Rule: ``pkg/scheduler/plugins/proportion/resource_division/resource_division.go`` of KAI Scheduler 0.17. For
every resource on its own:

1. Each queue gets what it deserves, as far as it asks for it and its limit lets it, even when the queues
   together deserve more than there is.
2. What is left goes out by priority, highest first. Within a priority, queue i of those that still want more
   is offered left · P_i / ΣP with P_i = max(0, W_i + k (W_i − U_i)), W_i its part of their weights and U_i
   its usage as a part of the capacity. Who wants no more than the offer gets what it wants; all others get
   the offer rounded down. This repeats while somebody wanted less than was offered.
3. Units that were lost to rounding go out one at a time, by priority, then to the largest lost fraction, then
   to the queue that was created first, then by name.

Two things follow that may surprise. A queue of weight 0, or one whose usage outweighs its weight, gets
nothing beyond what it deserves, even when nobody else wants it. And step 3 gives whole units, so a queue that
asks for part of a unit, or whose limit is one, can be given up to a unit more than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aios_lab.allocation.fairness.checks import amount, number

# KAI's mark for "no ceiling", beside None.
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Quota:
    """What one queue asks for and may have of one resource; amounts in any one unit.

    ``deserved`` None is all there is, ``limit`` None no ceiling. ``usage`` is recent use over capacity.
    """

    name: str
    request: float
    deserved: float | None = 0.0
    weight: float = 1.0
    limit: float | None = None
    usage: float = 0.0
    priority: float = 0
    created: float = 0.0


@dataclass(slots=True)
class _Claim:
    quota: Quota
    wanted: float
    share: float = 0.0

    @property
    def missing(self) -> float:
        return self.wanted - self.share


def divide(
    total: Mapping[str, float], queues: Mapping[str, Mapping[str, Any]], k: float = 1.0
) -> dict[str, dict[str, float]]:
    """The fair share of every queue in every resource that it names, by the rule of KAI Scheduler.

    ``total`` has the capacity of each resource; one that it leaves out counts as none. ``queues`` has, by
    name and resource, ``{"deserved", "weight", "request"}`` and perhaps ``"limit"`` and ``"usage"`` (recent
    use as a part of the capacity), and beside the resources perhaps ``"priority"`` (higher first) and
    ``"created"`` (a time; equal when left out). None or -1 is unlimited for ``deserved`` and ``limit``.
    Other fields, such as ``"allocated"``, have no part in the rule. ``k`` is how strongly past usage
    counts, 1 as in KAI.

    Raises:
        ValueError: a number is missing, not finite or negative; the message names queue, resource and field.
    """
    k = amount(k, "k")
    for name, queue in queues.items():
        if not isinstance(queue, Mapping):
            raise ValueError(f"queue {name!r} is {queue!r}: give what it deserves and asks for by resource.")
    shares: dict[str, dict[str, float]] = {name: {} for name in queues}
    named = {r: None for queue in queues.values() for r, part in queue.items() if isinstance(part, Mapping)}
    for resource in {**dict.fromkeys(total), **named}:
        capacity = amount(total.get(resource, 0.0), f"The total of {resource!r}")
        quotas = [_quota(name, queue, resource) for name, queue in queues.items() if resource in queue]
        for name, share in share_out(capacity, quotas, k).items():
            shares[name][resource] = share
    return shares


def share_out(total: float, quotas: Iterable[Quota], k: float = 1.0) -> dict[str, float]:
    """One resource divided between queues, as `divide` does it for each; numbers are taken as they are."""
    claims = [_Claim(q, min(q.request, math.inf if q.limit is None else q.limit)) for q in quotas]
    shares = {claim.quota.name: 0.0 for claim in claims}
    claims.sort(key=lambda c: (-c.quota.priority, c.quota.created, c.quota.name))
    left = total
    for claim in claims:
        claim.share = min(total if claim.quota.deserved is None else claim.quota.deserved, claim.wanted)
        left -= claim.share
    lost: list[dict[str, tuple[float, _Claim]]] = []
    for _, group in groupby(claims, key=lambda c: c.quota.priority):
        left, fractions = _offer(left, list(group), k)
        lost.append(fractions)
    for fractions in lost:
        left = _whole_units(left, fractions)
    return shares | {claim.quota.name: claim.share for claim in claims}


def _offer(left: float, claims: list[_Claim], k: float) -> tuple[float, dict[str, tuple[float, _Claim]]]:
    """Step 2 for one priority: what is left after it, and what part of a unit each queue lost to rounding."""
    lost: dict[str, tuple[float, _Claim]] = {}
    again = True
    while again and left > 0:
        again = False
        hungry = [claim for claim in claims if claim.missing > 0]
        parts = _parts(hungry, k)
        whole = sum(parts)
        if whole == 0:
            break
        offered = left
        for claim, part in zip(hungry, parts, strict=True):
            offer = offered * (part / whole)
            missing = claim.missing
            if missing <= offer:
                claim.share = claim.wanted
                left -= missing
                lost.pop(claim.quota.name, None)
                again = again or missing < offer
                continue
            units = math.floor(offer)
            claim.share += units
            left -= units
            if offer > units:
                lost[claim.quota.name] = (offer - units, claim)
    return left, lost


def _parts(hungry: list[_Claim], k: float) -> list[float]:
    """P_i of every queue that wants more."""
    weights = sum(claim.quota.weight for claim in hungry)
    if weights == 0:
        return [0.0] * len(hungry)
    normalised = [claim.quota.weight / weights for claim in hungry]
    return [max(0.0, w + k * (w - c.quota.usage)) for w, c in zip(normalised, hungry, strict=True)]


def _whole_units(left: float, lost: Mapping[str, tuple[float, _Claim]]) -> float:
    """Step 3 for one priority: what is left after it."""
    order = sorted(lost.values(), key=lambda item: (-item[0], item[1].quota.created, item[1].quota.name))
    for _, claim in order:
        if left <= 0:
            break
        unit = min(1.0, left)
        claim.share += unit
        left -= unit
    return left


def _quota(name: str, queue: Mapping[str, Any], resource: str) -> Quota:
    where = f"queue {name!r}, {resource!r}"
    part = queue[resource]
    if not isinstance(part, Mapping):
        raise ValueError(f"{where} is {part!r}: give its deserved, weight, limit and request.")
    missing = [field for field in ("deserved", "weight", "request") if field not in part]
    if missing:
        raise ValueError(f"{where} lacks {' and '.join(missing)}.")
    return Quota(
        name=name,
        request=amount(part["request"], f"{where}: request"),
        deserved=_ceiling(part["deserved"], f"{where}: deserved"),
        weight=amount(part["weight"], f"{where}: weight"),
        limit=_ceiling(part.get("limit"), f"{where}: limit"),
        usage=amount(part.get("usage", 0.0), f"{where}: usage"),
        priority=number(queue.get("priority", 0), f"queue {name!r}: priority"),
        created=number(queue.get("created", 0), f"queue {name!r}: created"),
    )


def _ceiling(value: object, what: str) -> float | None:
    if value is None or value == UNLIMITED:
        return None
    try:
        return amount(value, what)
    except ValueError as error:
        raise ValueError(f"{error} None or -1 means unlimited.") from None
