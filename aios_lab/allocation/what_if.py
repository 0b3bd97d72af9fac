"""What another request would bring: decided and forecast on a copy, so that nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aios_lab.allocation.decide import DEFAULT_POLICY, check, policy_of
from aios_lab.allocation.explain import explain
from aios_lab.allocation.forecast import REPLAYS, Forecast, forecast, seed_of
from aios_lab.allocation.history import Past
from aios_lab.allocation.replay import Replay, gives_more
from aios_lab.allocation.types import Demand, Snapshot


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a change of one claim would bring, beside what comes without it.

    ``at_once`` units more would start now in room that is free, ``soon`` are there once others have given
    back what ``gives`` says: units by claim, beyond what they give anyway. ``reason`` explains the claim
    under the change. ``before`` is None for a claim that is new.
    """

    claim: str
    at_once: int
    soon: int
    gives: Mapping[str, int]
    reason: str
    before: Forecast | None
    after: Forecast


def what_if(
    snapshot: Snapshot,
    change: Demand,
    policy: str = DEFAULT_POLICY,
    *,
    past: Sequence[Past] = (),
    replays: int = REPLAYS,
    before: Forecast | None = None,
    enough: Callable[[int], bool] = lambda finished: False,
) -> WhatIf:
    """What would be if a claim asked as ``change`` says: one of the snapshot, or a new one.

    A claim that would take units of another shape gives back what it holds first. Both forecasts meet the
    same draws, so that they differ by the change alone; ``before`` hands in the one without the change where
    it was made of this snapshot already. See ``forecast`` for the rest.

    Raises:
        InvalidSnapshot: as in ``decide``, also for the changed snapshot.
        ValueError: there is no such policy, or ``replays`` is not positive.
    """
    decided = policy_of(policy)
    check(snapshot)
    changed = with_change(snapshot, change)
    check(changed)
    seed = seed_of(snapshot)
    known = any(demand.claim == change.claim for demand in snapshot.demands)
    without, within = Replay(snapshot, decided, {}), Replay(changed, decided, {})
    held = within.units(change.claim)
    without.settle()
    within.settle()

    def told(one: Snapshot) -> Forecast:
        return forecast(one, change.claim, policy, past=past, replays=replays, seed=seed, enough=enough)

    return WhatIf(
        change.claim,
        at_once=within.given_at_once.get(change.claim, 0),
        soon=max(0, within.units(change.claim) - held),
        gives=gives_more(within, without, change.claim),
        reason=explain(changed, change.claim, policy),
        before=before or (told(snapshot) if known else None),
        after=told(changed),
    )


def with_change(snapshot: Snapshot, change: Demand) -> Snapshot:
    """The snapshot in which one claim asks otherwise, or one more asks."""
    before = next((demand for demand in snapshot.demands if demand.claim == change.claim), None)
    demands = tuple(demand for demand in snapshot.demands if demand.claim != change.claim)
    leases = snapshot.leases
    if before is None or before.unit != change.unit:
        leases = tuple(lease for lease in leases if lease.claim != change.claim)
        change = replace(change, started=None, floor=0)
    return replace(snapshot, demands=(*demands, change), leases=leases)
