"""One decision after another: what an event cannot have changed is not decided again.

Every plan is the one that ``decide`` makes of the same snapshot. Two cases are cheap. Where nothing changed
that fair share looks at, the last plan still holds. And where more is asked for than there is, most claims
that come, change or go are ones that wait: who would be served right after a *forerunner* that got nothing
gets nothing either, and whether it is there makes no difference to anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from aios_lab.allocation.decide import DEFAULT_POLICY, check, decide, policy_of, without_collections
from aios_lab.allocation.fair_share import carried_out, fair_targets
from aios_lab.allocation.preemption import guarded_until, preemptions
from aios_lab.allocation.reasons import Book
from aios_lab.allocation.room import plus
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Demand, Plan, Resources, Snapshot, Vector

# What a decision of fair share takes from a snapshot besides claims and leases. It knows no time, but for
# claims that are guarded until then.
SETTING = tuple(field.name for field in fields(Snapshot) if field.name not in ("demands", "leases", "now"))


class Decider:
    """Decides like ``decide(snapshot, policy)``; ``reused`` counts the plans made from the one before."""

    def __init__(self, policy: str = DEFAULT_POLICY) -> None:
        """
        Raises:
            ValueError: there is no such policy.
        """
        policy_of(policy)
        self.policy = policy
        self.reused = 0
        self._last: _Decided | None = None

    def decide(self, snapshot: Snapshot) -> Plan:
        """
        Raises:
            InvalidSnapshot: as in ``decide``.
        """
        if self.policy != DEFAULT_POLICY:
            return decide(snapshot, self.policy)
        last, self._last = self._last, None
        with without_collections():
            if last is not None and last.follow(snapshot):
                self.reused += 1
            else:
                last = _Decided(snapshot)
        self._last = last
        return last.plan


class _Decided:
    """A decision of fair share, and what tells whether another one would differ."""

    def __init__(self, snapshot: Snapshot) -> None:
        check(snapshot)
        targets = fair_targets(snapshot)
        plan = carried_out(targets)
        plan = replace(plan, preemptions=preemptions(snapshot, plan, targets.units))
        self.until = guarded_until(snapshot)
        # One claim more may be what makes somebody ask for more than his quota, and then he has a part of the
        # weights by which past use counts.
        self.weighs = targets.past.counts and any(p.quota != Resources() for p in snapshot.principals)
        self.snapshot = snapshot
        self.demands = {demand.claim: demand for demand in snapshot.demands}
        self.book = Book(snapshot, plan, targets.units)
        self.plan = replace(plan, reasons=self.book.reasons())
        self.lacking = targets.lacking
        # Who holds nothing, should have nothing and gets nothing, though he would start with something.
        self.waiting: dict[tuple[str, Vector], list[Demand]] = {}
        for claim, demand in self.demands.items():
            idle = not (self.book.leased.get(claim) or self.book.held[claim] or self.book.targets[claim])
            if idle and starting_units(demand):
                self.waiting.setdefault(_kind(demand), []).append(demand)

    def follow(self, snapshot: Snapshot) -> bool:
        """Become the decision of this snapshot; false, and of no more use, where it takes a new division."""
        last = self.snapshot
        if self.weighs or not last.now <= snapshot.now < self.until:
            return False
        if snapshot.leases != last.leases or any(getattr(snapshot, n) != getattr(last, n) for n in SETTING):
            return False
        demands = {demand.claim: demand for demand in snapshot.demands}
        if len(demands) < len(snapshot.demands):
            return False
        known = self.demands
        new = [d for d in snapshot.demands if (old := known.get(d.claim)) is not d and old != d]
        gone = [known[d.claim] for d in new if d.claim in known]
        gone += (known[claim] for claim in sorted(known.keys() - demands.keys()))
        if not all(map(self._leaves, gone)) or not all(map(self._joins, new)):
            return False
        self.snapshot, self.demands = snapshot, demands
        if new or gone:
            self._tell(gone, new)
        return True

    def _leaves(self, demand: Demand) -> bool:
        """Take out a claim that waits behind a forerunner; whether it is one."""
        if not self._waits(demand) or demand not in self.waiting[_kind(demand)]:
            return False
        self.waiting[_kind(demand)].remove(demand)
        return self._ask(demand, -1)

    def _joins(self, demand: Demand) -> bool:
        """Put in a claim that waits behind a forerunner; whether it is one."""
        if demand.floor < 0 or not self._waits(demand):
            return False
        self.waiting[_kind(demand)].append(demand)
        return self._ask(demand, 1)

    def _ask(self, demand: Demand, times: int) -> bool:
        """So much more is asked for; whether there is not enough for everybody before and after."""
        before = self.lacking
        self.lacking = plus(before, demand.unit.vector, demand.max * times)
        return max(before) > 0 and max(self.lacking) > 0

    def _waits(self, demand: Demand) -> bool:
        """Whether a claim that holds nothing comes after a forerunner: one of the same principal and shape,
        to start with no more units, that is served before and gets nothing. Room, quotas and limits that did
        not do for that one are no larger when its own turn comes."""
        return starting_units(demand) > 0 and any(
            starting_units(other) <= starting_units(demand) and _turn(other) < _turn(demand)
            for other in self.waiting.get(_kind(demand), ())
        )

    def _tell(self, gone: Iterable[Demand], new: Iterable[Demand]) -> None:
        """The reasons of those who are there now; the others' are what they were."""
        said = dict(self.plan.reasons)
        for demand in gone:
            del said[demand.claim]
            self.book.forget(demand)
        for demand in new:
            said[demand.claim] = self.book.waits(demand)
        self.plan = replace(self.plan, reasons=dict(sorted(said.items())))


def _kind(demand: Demand) -> tuple[str, Vector]:
    return demand.principal, demand.unit.vector


def _turn(demand: Demand) -> tuple[bool, int, float, str]:
    """When its turn comes among the claims of a principal that hold nothing."""
    return demand.idle, -demand.priority, demand.submitted, demand.claim
