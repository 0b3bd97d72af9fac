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

from aios_lab.allocation.fair_share import fair_share, towards
from aios_lab.allocation.room import how_many, plus
from aios_lab.allocation.shares import Claimant
from aios_lab.allocation.targets import Targets, starting_units
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
    return lambda snapshot: guarded(snapshot, lambda: towards(snapshot, _Targets(snapshot, program)))


def guarded(
    snapshot: Snapshot, propose: Callable[[], tuple[Plan, Mapping[str, int]]]
) -> tuple[Plan, Mapping[str, int]]:
    """What is proposed, or what fair share decides where that is nothing that could be carried out."""
    try:
        plan, targets = propose()
        validate(snapshot, replace(plan, reasons={demand.claim: "proposed" for demand in snapshot.demands}))
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

    def __init__(self, snapshot: Snapshot, program: Program) -> None:
        self._program = program
        super().__init__(snapshot)

    def _share_out(self) -> None:
        if self._program.starts_first:
            waiting = [c for c in self._claimants if c.count < _start(c)]
            self._serve(waiting, None, lambda c: _start(c) - c.count)
        ideals = {ideal.claimant.demand.claim: ideal for ideal in self._ideals()}
        growing = [ideal.claimant for ideal in ideals.values()]
        self._serve(growing, None, lambda c: _step(c, ideals[c.demand.claim].whole))
        for ideal in sorted(ideals.values(), key=_rounding_order):
            self._round_up(ideal)
        super()._share_out()

    def _ideals(self) -> list[_Ideal]:
        free, limits = self._free(), self._limits_left()
        wishes = self._wishes(free, limits)
        more_of = more_units(wishes, free, limits, self._program.utility)
        return [_ideal(c, more_of[c.demand.claim]) for c in self._claimants if c.demand.claim in more_of]

    def _wishes(self, free: Vector, limits: Mapping[str, Vector]) -> list[Wish]:
        demands = [c.demand for c in self._claimants if c.demand.max > 0]
        worths = (portions if self._program.starts_first else products)(self._tree, demands)
        most = max(worths.values(), default=0) or 1
        wishes = []
        for claimant in self._claimants:
            demand, unit = claimant.demand, claimant.unit
            above = tuple(name for name in self._tree.path(demand.principal) if name in limits)
            possible = min(how_many(unit, room) for room in (free, *(limits[name] for name in above)))
            more = min(demand.max - claimant.count, possible)
            worth = float(worths.get(demand.claim, 0) / most)
            if more > 0 and worth and any(unit) and self._grows(claimant):
                wishes.append(Wish(demand.claim, unit, above, worth, claimant.count, more, demand.max))
        return wishes

    def _grows(self, claimant: Claimant) -> bool:
        """Whether the program may give it units: where all start first, not to those who could not start."""
        return not self._program.starts_first or claimant.count >= _start(claimant)

    def _free(self) -> Vector:
        """What is free on all nodes together."""
        columns = zip(*self._rooms.free, strict=True)
        cpu, memory, gpu, gpu_memory = (sum(max(0, amount) for amount in column) for column in columns)
        return cpu, memory, gpu, gpu_memory

    def _limits_left(self) -> Mapping[str, Vector]:
        """What each limited principal may still use."""
        return {
            name: plus(principal.limit.vector, self._tree.usage(name).vector, -1)
            for name, principal in self._tree.principals.items()
            if principal.limit is not None
        }

    def _round_up(self, ideal: _Ideal) -> None:
        """A unit more, or the minimum, if what is whole was had and there is room."""
        claimant = ideal.claimant
        units = _start(claimant) - claimant.count if claimant.count < _start(claimant) else 1
        if ideal.part <= WHOLE or claimant.count < ideal.whole:
            return
        if self._allowed(claimant.demand, units, None) and self._place(claimant.unit, units):
            self._give(claimant, units)
            self.awards.append((claimant.demand.claim, units))


def _start(claimant: Claimant) -> int:
    """The units without which a claim has nothing."""
    return min(max(1, starting_units(claimant.demand)), claimant.demand.max)


def _step(claimant: Claimant, goal: int) -> int:
    """The units of the next award on the way to a goal: the minimum at once, then one by one."""
    if claimant.count >= goal:
        return 0
    return max(1, _start(claimant) - claimant.count)


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
