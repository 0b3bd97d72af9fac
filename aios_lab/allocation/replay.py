"""What follows from a snapshot: the core decides, claims hold their units for a while, others come.

The loop of the simulator, begun in the middle: whoever holds units holds them until a given time, and who
starts later holds them for a given while. Units are on their nodes, and gone, at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aios_lab.allocation.decide import Policy
from aios_lab.allocation.scheduler import scheduler_at
from aios_lab.allocation.types import Change, Demand, Snapshot

ROUNDS = 50  # decisions at one moment, after which the policy swings


def gives_more(within: Replay, without: Replay, claim: str) -> dict[str, int]:
    """Units that others than this claim have to give in one replay beyond what they give in the other."""
    more = {other: units - without.gives.get(other, 0) for other, units in sorted(within.gives.items())}
    return {other: units for other, units in more.items() if other != claim and units > 0}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A claim to come, at ``demand.submitted``, and for how many seconds it will hold its units."""

    demand: Demand
    length: float


class Replay:
    """One way in which things may go on."""

    def __init__(
        self,
        snapshot: Snapshot,
        policy: Policy,
        lengths: Mapping[str, float],
        arrivals: Iterable[Arrival] = (),
    ) -> None:
        """``lengths``: seconds that each claim holds units, from its start (its ``started``) on; a claim that
        is not named holds them for ever. ``arrivals`` are sorted by their time."""
        self.now = snapshot.now
        self.gives: dict[str, int] = {}  # units taken from claims so far
        self.given_at_once: dict[str, int] = {}  # units that the first decision gave
        self._scheduler = scheduler_at(snapshot, policy)
        self._lengths = dict(lengths)
        self._guard = snapshot.sharing.guard
        self._coming = iter(arrivals)
        self._next = next(self._coming, None)
        self._most = {demand.claim: demand.max for demand in snapshot.demands}
        self._units = dict.fromkeys(self._most, 0)
        self._started: dict[str, float] = {}  # of those who hold units
        self._wakes: list[tuple[float, str]] = []  # when a claim may have ended, or is guarded no more
        self._decided = False
        for lease in snapshot.leases:
            self._units[lease.claim] += lease.units
        for demand in snapshot.demands:
            if self._units[demand.claim]:
                self._starts(demand.claim, snapshot.now if demand.started is None else demand.started)
        self._wanting = {claim for claim, units in self._units.items() if units < self._most[claim]}

    def units(self, claim: str) -> int:
        return self._units.get(claim, 0)

    def start_of(self, claim: str, units: int, horizon: float, enough: Callable[[], bool]) -> float:
        """Seconds until the claim holds so many units; infinite when it does not within ``horizon`` seconds.

        ``enough`` may end it before, as if the horizon were reached.
        """
        began = self.now
        while True:
            self.settle()
            if self.units(claim) >= units:
                return self.now - began
            if enough() or not self._step() or self.now - began > horizon:
                return math.inf

    def settle(self) -> None:
        """Decide and carry out until there is nothing to do at this moment."""
        for _ in range(ROUNDS):
            if not self._wanting:
                return
            plan = self._scheduler.decide(self.now)
            self._carry_out(plan.shrinks, -1)
            self._carry_out(plan.grants, 1)
            self._decided = True
            if not plan.shrinks:  # what was free is given: only what others gave back is still to be
                return

    def _carry_out(self, changes: tuple[Change, ...], sign: int) -> None:
        for claim, _, units in changes:
            if sign < 0:
                self.gives[claim] = self.gives.get(claim, 0) + units
            elif not self._decided:
                self.given_at_once[claim] = self.given_at_once.get(claim, 0) + units
            before = self._units[claim]
            self._units[claim] = before + sign * units
            if not before:
                self._starts(claim, self.now)
            (self._wanting.add if self._units[claim] < self._most[claim] else self._wanting.discard)(claim)

    def _starts(self, claim: str, time: float) -> None:
        self._started[claim] = time
        if (end := time + self._lengths.get(claim, math.inf)) < math.inf:
            heapq.heappush(self._wakes, (max(end, self.now), claim))
        if self._guard and time + self._guard > self.now:  # others may want it after that
            heapq.heappush(self._wakes, (time + self._guard, claim))

    def _step(self) -> bool:
        """Go on to the next moment at which something happens; false when nothing will."""
        wakes = self._wakes[0][0] if self._wakes else math.inf
        coming = self._next.demand.submitted if self._next is not None else math.inf
        happens = min(wakes, coming)
        if happens == math.inf:
            return False
        self.now = max(self.now, happens)
        while self._wakes and self._wakes[0][0] <= self.now:
            _, claim = heapq.heappop(self._wakes)
            if self._has_ended(claim):
                self._scheduler.leave(claim, self.now)
                del self._units[claim], self._most[claim]
                self._wanting.discard(claim)
        while self._next is not None and self._next.demand.submitted <= self.now:
            demand = self._next.demand
            self._lengths[demand.claim] = self._next.length
            self._units[demand.claim], self._most[demand.claim] = 0, demand.max
            if demand.max:
                self._wanting.add(demand.claim)
            self._scheduler.arrive(demand)
            self._next = next(self._coming, None)
        return True

    def _has_ended(self, claim: str) -> bool:
        """False for a claim that gave all back meanwhile and waits, or started once more."""
        length = self._lengths.get(claim, math.inf)
        return self.units(claim) > 0 and self._started[claim] + length <= self.now
