"""When a slice starts, and what another request would bring: computed when somebody asks, beside the loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from aios_lab import wire
from aios_lab.allocation import Demand, Forecast, Past, Snapshot, explain, forecast, what_if
from aios_lab.allocation.forecast import LEAST
from aios_lab.allocation.queueing import Queue
from aios_lab.allocation.what_if import WhatIf, with_change
from aios_lab.broker.claims import make_claim
from aios_lab.broker.ledger import Ledger
from aios_lab.broker.quotas import Quotas
from aios_lab.broker.record import Record
from aios_lab.broker.sizes import to_wire
from aios_lab.broker.slices import Claim, Slice
from aios_lab.broker.snapshot import Member, demand_of
from aios_lab.broker.views import short_name
from aios_lab.engines.base import Inventory
from aios_lab.wire import ClaimRequest

SECONDS = 0.9  # that replays may take for one answer
MOST_SECONDS = 5.0  # that they may take where less would not be enough to tell anything
KEEP = 15.0  # seconds after which the ages of claims are others, though nothing else changed
ANSWERS = 64

T = TypeVar("T")
Key = tuple[str, str]  # a slice, and the request as JSON; empty for its own claim


class Outlook:
    """Answers are kept until something changed that a decision depends on, or for ``KEEP`` seconds, in which
    past use counts for as good as the same."""

    def __init__(
        self, ledger: Ledger, quotas: Quotas, snapshot: Callable[[float, Iterable[Member]], Snapshot]
    ) -> None:
        """``snapshot``: as a decision sees it at a time, with the principals of others who may come."""
        self._quotas = quotas
        self._snapshot = snapshot
        self._record = Record(ledger)
        self._busy = asyncio.Lock()  # one computation at a time
        self._answers: dict[Key, tuple[float, Any, Any]] = {}

    async def forecast(self, one: Slice) -> wire.Forecast:
        """When the slice gets what it waits for; of one that sleeps, when it would if it were used now.

        Raises:
            Refused: 409 'ledger_unavailable'.
        """
        now, policy, past = time.time(), self._quotas.policy, self._record.past()
        snapshot = self._snapshot(now, self._record.members)
        asked = _asking(snapshot, one, now)

        def told() -> wire.Forecast:
            return _forecast(asked, one.id, policy, past, within())

        return await self._answer((one.id, ""), (_essence(snapshot), one.claim, policy), told)

    async def what_if(
        self, one: Slice, request: ClaimRequest, living: Mapping[str, Slice], inventory: Inventory
    ) -> wire.WhatIf:
        """What would be if the slice asked for this. Nothing is asked for.

        Raises:
            Refused: as a request would be, see ``make_claim``; 409 'ledger_unavailable'.
        """
        claim = make_claim(request, one.claim, one.owner.user, inventory, self._quotas)
        now, policy, past = time.time(), self._quotas.policy, self._record.past()
        snapshot = self._snapshot(now, {*self._record.members, (claim.project, one.owner.user)})
        base = _asking(snapshot, one, now) if one.wanted else snapshot
        change = _demand(one, claim, now)

        def told() -> wire.WhatIf:
            known = any(demand.claim == one.id for demand in base.demands)
            before = forecast(base, one.id, policy, past=past, enough=within(part=0.5)) if known else None
            found = what_if(base, change, policy, past=past, before=before, enough=within(part=0.5))
            why = explain(base, one.id, policy) if known else ""
            return _what_if(found, claim, why, base, living)

        return await self._answer(
            (one.id, request.model_dump_json()), (_essence(snapshot), claim, policy), told
        )

    async def _answer(self, key: Key, essence: Any, make: Callable[[], T]) -> T:
        answer: T
        async with self._busy:
            made, seen, answer = self._answers.pop(key, (0.0, None, None))
            if seen != essence or time.monotonic() - made > KEEP:
                answer = await asyncio.to_thread(make)
                made = time.monotonic()
            self._answers[key] = made, essence, answer
            while len(self._answers) > ANSWERS:
                del self._answers[next(iter(self._answers))]
            return answer


def within(part: float = 1.0) -> Callable[[int], bool]:
    """Says whether ``SECONDS``, or a part of them, have passed since it was first asked; ``MOST_SECONDS``
    while too few replays are finished to tell anything."""
    began: list[float] = []

    def enough(finished: int) -> bool:
        if not began:
            began.append(time.monotonic())
        seconds = SECONDS if finished >= LEAST else MOST_SECONDS
        return time.monotonic() - began[0] > seconds * part

    return enough


def _essence(snapshot: Snapshot) -> Any:
    """All of it but what changes with time."""
    return replace(snapshot, now=0.0, usage=())


def _demand(one: Slice, claim: Claim, now: float) -> Demand:
    """What the slice would want with this claim, awake and of its own shape."""
    awake = replace(one, claim=claim, wanted=True, cap=None, asked=one.asked if one.wanted else now)
    demand = demand_of(awake)
    if awake.reshaping:
        return replace(demand, unit=claim.unit, min=claim.min, max=claim.max)
    return demand


def _asking(snapshot: Snapshot, one: Slice, now: float) -> Snapshot:
    """The snapshot in which the slice wants its claim."""
    demand = _demand(one, one.claim, now)
    return snapshot if demand in snapshot.demands else with_change(snapshot, demand)


def _forecast(
    snapshot: Snapshot, claim: str, policy: str, past: tuple[Past, ...], enough: Callable[[int], bool]
) -> wire.Forecast:
    told = forecast(snapshot, claim, policy, past=past, enough=enough)
    return forecast_view(told, snapshot, explain(snapshot, claim, policy))


def forecast_view(told: Forecast, snapshot: Snapshot, reason: str) -> wire.Forecast:
    """A forecast with times of the clock."""
    now = snapshot.now

    def at(seconds: float) -> float | None:
        return now + seconds if seconds < math.inf else None

    return wire.Forecast.model_validate(
        {
            "slice_id": told.claim,
            "made": now,
            "state": told.state,
            "workers": told.units,
            "grows": any(lease.claim == told.claim and lease.units for lease in snapshot.leases),
            "early": at(told.low),
            "start": at(told.median),
            "late": at(told.high),
            "replays": told.replays,
            "basis": told.basis,
            "reason": reason,
            "long_run": _long_run(told.queue) if told.queue is not None else None,
        }
    )


def _long_run(queue: Queue) -> wire.LongRun:
    mean, late = (queue.W_q, queue.wait_quantile(0.9)) if queue.stable else (None, None)
    return wire.LongRun(servers=queue.servers, load=queue.rho, mean=mean, late=late)


def _what_if(
    found: WhatIf, claim: Claim, why: str, base: Snapshot, living: Mapping[str, Slice]
) -> wire.WhatIf:
    gives = [
        wire.Giver(
            slice_id=other, user=living[other].owner.user, name=short_name(living[other]), workers=units
        )
        for other, units in found.gives.items()
    ]
    return wire.WhatIf(
        slice_id=found.claim,
        unit=to_wire(claim.unit),
        min_workers=claim.min,
        max_workers=claim.max,
        at_once=found.at_once,
        soon=found.soon,
        gives=gives,
        before=forecast_view(found.before, base, why) if found.before is not None else None,
        after=forecast_view(found.after, base, found.reason),
    )
