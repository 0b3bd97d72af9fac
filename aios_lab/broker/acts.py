"""What a plan means for each slice."""

from __future__ import annotations

from dataclasses import dataclass, field

from aios_lab.allocation import Change, Plan, Snapshot
from aios_lab.allocation.preemption import told
from aios_lab.allocation.reasons import cause
from aios_lab.broker.views import ASKED, OTHER_SIZE


@dataclass
class Act:
    """What a plan means for one slice: units by node to add or to retire, and ``why``; with all of them
    ``by`` are the slices it is preempted for, ``told`` is what its owner reads, and ``idle`` says that it is
    parked."""

    more: dict[str, int] = field(default_factory=dict)
    less: dict[str, int] = field(default_factory=dict)
    why: str = ""
    by: tuple[str, ...] = ()
    told: str = ""
    idle: bool = False


def acts_of(snapshot: Snapshot, plan: Plan) -> dict[str, Act]:
    """The acts of a plan, by slice."""
    acts: dict[str, Act] = {}
    for change in plan.grants:
        _add(acts.setdefault(change.claim, Act()).more, change)
    leaving = {demand.claim for demand in snapshot.demands if not demand.max}
    for change in plan.shrinks:
        _add(acts.setdefault(change.claim, Act()).less, change)
        said = OTHER_SIZE if change.claim in leaving else plan.reasons.get(change.claim, ASKED)
        acts[change.claim].why = cause(said)
    idle = {demand.claim for demand in snapshot.demands if demand.idle}
    for one in plan.preemptions:
        act = acts[one.claim]
        act.by, act.told, act.idle = one.by, told(snapshot, one), one.claim in idle
        act.why = cause(act.told)
    return acts


def _add(units: dict[str, int], change: Change) -> None:
    units[change.node] = units.get(change.node, 0) + change.units
