"""The programs as policies: who should have how many units is what maximises a sum of utilities.

What may not be taken and what quotas guarantee come first, as under fair share; the program shares out the
rest. It answers in fractions, in which the nodes are one: whole units are dealt out in fair order as far as
nodes, limits and minimums let them, then the largest remainders are rounded up where there is room, and what
is left over after that goes round in fair order. Placing and shrinking is that of fair share.

A program only proposes: when it has no answer, or its plan does not pass the gate, fair share decides and the
plan says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from aios_lab.allocation.fair_share import carried_out, fair_share, fair_targets
from aios_lab.allocation.preemption import preemptions
from aios_lab.allocation.room import NOTHING, Rooms, how_many, larger, plus
from aios_lab.allocation.shares import Claimant, Held
from aios_lab.allocation.targets import Award, Targets, starting_units
from aios_lab.allocation.types import Plan, Snapshot, Vector
from aios_lab.allocation.utility.growth import UTILITIES, Utility, Wish, more_units
from aios_lab.allocation.utility.worth import portions, products
from aios_lab.allocation.validate import InvalidPlan, validate

Policy = Callable[[Snapshot], tuple[Plan, Mapping[str, int]]]

# A fraction this close below a whole unit is one: that is what the solver's tolerance leaves.
WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Program:
    """A utility, and how it is used: ``starts_first`` gives everybody a minimum before anybody grows, and
    counts weights as portions of the whole; otherwise minimums compete with growth by their worth."""

    utility: Utility
    starts_first: bool


PROGRAMS: Mapping[str, Program] = {
    "utility": Program(UTILITIES["log"], starts_first=True),
    "utility:linear": Program(UTILITIES["linear"], starts_first=False),
    "utility:fractions": Program(UTILITIES["fractions"], starts_first=False),
}


def utility_policy(program: Program) -> Policy:
    """The policy of this program. SciPy is imported when it first decides.

    Sources: Kelly, Maulloo, Tan, Journal of the Operational Research Society 49 (1998), for proportional
    fairness; Hamilton's method of largest remainders for the rounding (Balinski, Young, "Fair Representation"
    (1982), chapter 3).
    """
    goals = partial(_Targets, program)

    def propose(snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
        targets = fair_targets(snapshot, goals)
        return carried_out(targets), targets.units

    return lambda snapshot: guarded(snapshot, lambda: propose(snapshot))


def guarded(
    snapshot: Snapshot, propose: Callable[[], tuple[Plan, Mapping[str, int]]]
) -> tuple[Plan, Mapping[str, int]]:
    """What is proposed, or what fair share decides where that is nothing that could be carried out."""
    try:
        plan, targets = propose()
        told = {demand.claim: "proposed" for demand in snapshot.demands}
        whole = preemptions(snapshot, plan, targets)
        validate(snapshot, replace(plan, reasons=told, preemptions=whole))
    except (ArithmeticError, InvalidPlan, ValueError) as error:
        plan, targets = fair_share(snapshot)
        note = f"Fair share decided, because the program had no valid plan: {str(error).rstrip('.')}."
        return replace(plan, note=note), targets
    return plan, targets


@dataclass(frozen=True, slots=True)
class _Ideal:
    """What the program wants for a claimant: ``whole`` units in all, and then ``part`` of one more step."""

    claimant: Claimant
    whole: int
    part: float


class _Targets(Targets):
    """Targets that come from a program beyond what is kept and guaranteed."""

    def __init__(self, program: Program, snapshot: Snapshot, held: Held, rooms: Rooms) -> None:
        self._program = program
        super().__init__(snapshot, held, rooms)

    def _share_out(self) -> None:
        if self._program.starts_first:
            self._start_all({c.demand.claim: _start(c) for c in self._contending})
        ideals = {ideal.claimant.demand.claim: ideal for ideal in self._ideals()}
        whole = {claim: ideal.whole for claim, ideal in ideals.items()}
        self._start_all(whole)
        for claimant in self._contending:
            started = claimant.count >= _start(claimant)
            claimant.goal, claimant.step = whole.get(claimant.demand.claim, 0) if started else 0, 1
        self._serve(None, together=False)
        for ideal in sorted(ideals.values(), key=_rounding_order):
            self._round_up(ideal)
        super()._share_out()

    def _start_all(self, goals: Mapping[str, int]) -> None:
        """The minimum, or one unit, to everybody whose goal is no less."""
        for claimant in self._contending:
            start = _start(claimant)
            claimant.goal = start if goals.get(claimant.demand.claim, 0) >= start else 0
            claimant.step = start - claimant.count
        self._serve(None, together=True)

    def _ideals(self) -> list[_Ideal]:
        free, limits = self._rooms.total(), self._limits_left()
        wishes = self._wishes(free, limits)
        more_of = more_units(wishes, free, limits, self._program.utility)
        return [_ideal(c, more_of[c.demand.claim]) for c in self._contending if c.demand.claim in more_of]

    def _wishes(self, free: Vector, limits: Mapping[str, Vector]) -> list[Wish]:
        demands = [c.demand for c in self.claimants if c.demand.max > 0]
        worths = (portions if self._program.starts_first else products)(self.tree, demands)
        most = max(worths.values(), default=0) or 1
        wishes = []
        for claimant in self._contending:
            demand, unit = claimant.demand, claimant.unit
            above = tuple(name for name in self.tree.path(demand.principal) if name in limits)
            possible = min(how_many(unit, room) for room in (free, *(limits[name] for name in above)))
            more = min(demand.max - claimant.count, possible)
            worth = float(worths.get(demand.claim, 0) / most)
            if more > 0 and worth and any(unit) and self._grows(claimant):
                wishes.append(Wish(demand.claim, unit, above, worth, claimant.count, more, demand.max))
        return wishes

    def _grows(self, claimant: Claimant) -> bool:
        """Whether the program may give it units: where all start first, not to those who could not start."""
        return not self._program.starts_first or claimant.count >= _start(claimant)

    def _limits_left(self) -> Mapping[str, Vector]:
        """What each limited principal may still use."""
        return {
            name: larger(NOTHING, plus(principal.limit.vector, self.tree.usage(name).vector, -1))
            for name, principal in [*self.tree.principals.items()]
            if principal.limit is not None
        }

    def _round_up(self, ideal: _Ideal) -> None:
        """A unit more, or the minimum, if what is whole was had and there is room."""
        claimant = ideal.claimant
        if ideal.part <= WHOLE or claimant.count < ideal.whole:
            return
        claimant.step = max(1, _start(claimant) - claimant.count)
        if self._allowed(claimant, None) and self._place(claimant):
            self._give(claimant, claimant.step)
            self.awards.append(Award(claimant.demand.claim, claimant.step, together=True))


def _start(claimant: Claimant) -> int:
    """The units without which a claim has nothing."""
    return min(max(1, starting_units(claimant.demand)), claimant.demand.max)


def _ideal(claimant: Claimant, more: float) -> _Ideal:
    """Below the minimum there is nothing whole, and the next step is the minimum."""
    start, total = _start(claimant), claimant.count + more
    whole = math.floor(total + WHOLE)
    if whole >= start:
        return _Ideal(claimant, whole, total - whole)
    return _Ideal(claimant, claimant.count, more / (start - claimant.count))


def _rounding_order(ideal: _Ideal) -> tuple[float, bool, float, str]:
    """The largest part first; equal ones as in the fair queue: who holds it, who asked first, the id."""
    claimant, demand = ideal.claimant, ideal.claimant.demand
    part = round(ideal.part / WHOLE)
    return -part, claimant.held <= claimant.count, demand.submitted, demand.claim
