"""What follows from a snapshot: the core decides, claims hold their units for a while, others come.

The loop of the simulator, begun in the middle: whoever holds units holds them until a given time, and who
starts later holds them for a given while. Units are on their nodes, and gone, at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from aios_lab.allocation.decide import Policy
from aios_lab.allocation.preemption import guarded_until
from aios_lab.allocation.shares import held_units, path_of
from aios_lab.allocation.types import Change, Demand, Lease, Snapshot
from aios_lab.allocation.usage import Meter, balances

ROUNDS = 50  # decisions at one moment, after which the policy swings


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
        self._snapshot = snapshot
        self._policy = policy
        self._lengths = dict(lengths)
        self._coming = iter(arrivals)
        self._next = next(self._coming, None)
        self._demands = {demand.claim: demand for demand in snapshot.demands}
        self._held = {claim: dict(nodes) for claim, nodes in held_units(snapshot).items()}
        self._leases = {claim: _leases(claim, nodes) for claim, nodes in self._held.items()}
        self._ends: list[tuple[float, str]] = []
        self._guarded_until = math.inf
        self._decided = False
        self._meter = Meter(snapshot.sharing, balances(snapshot))
        for claim in self._held:
            demand = self._demands[claim]
            self._meter.hold(demand.principal, demand.unit, self.units(claim), self.now)
            self._ends_at(demand, snapshot.now if demand.started is None else demand.started)

    def units(self, claim: str) -> int:
        return sum(self._held.get(claim, {}).values())

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
            if all(self.units(claim) >= demand.max for claim, demand in self._demands.items()):
                return
            seen = self._seen()
            plan, _ = self._policy(seen)
            self._charge(plan.grants)
            self._carry_out(plan.shrinks, -1)
            self._carry_out(plan.grants, 1)
            self._decided = True
            self._guarded_until = guarded_until(seen)
            if not plan.shrinks:  # what was free is given: only what others gave back is still to be
                return

    def _seen(self) -> Snapshot:
        leases = tuple(lease for leases in self._leases.values() for lease in leases)
        demands = tuple(self._demands.values())
        usage = self._meter.usage({name for one in demands for name in path_of(one.principal)}, self.now)
        return replace(self._snapshot, demands=demands, leases=leases, now=self.now, usage=usage)

    def _charge(self, grants: tuple[Change, ...]) -> None:
        """What claims cost that begin now."""
        for change in grants:
            if not self._held.get(change.claim):
                demand = self._demands[change.claim]
                self._meter.charge(demand.principal, demand.unit, change.units, self.now)

    def _carry_out(self, changes: tuple[Change, ...], sign: int) -> None:
        for change in changes:
            claim, node, units = change.claim, change.node, sign * change.units
            if sign < 0:
                self.gives[claim] = self.gives.get(claim, 0) - units
            elif not self._decided:
                self.given_at_once[claim] = self.given_at_once.get(claim, 0) + units
            self._meter.hold(self._demands[claim].principal, self._demands[claim].unit, units, self.now)
            nodes = self._held.setdefault(claim, {})
            started = bool(nodes)
            nodes[node] = nodes.get(node, 0) + units
            if not nodes[node]:
                del nodes[node]
            self._leases[claim] = _leases(claim, nodes)
            if not started:
                demand = self._demands[claim] = replace(self._demands[claim], started=self.now)
                self._ends_at(demand, self.now)

    def _ends_at(self, demand: Demand, started: float) -> None:
        end = started + self._lengths.get(demand.claim, math.inf)
        if end < math.inf:
            heapq.heappush(self._ends, (max(end, self.now), demand.claim))

    def _step(self) -> bool:
        """Go on to the next moment at which something happens; false when nothing will."""
        end = self._ends[0][0] if self._ends else math.inf
        coming = self._next.demand.submitted if self._next is not None else math.inf
        happens = min(end, coming, self._guarded_until)
        if happens == math.inf:
            return False
        self.now, self._guarded_until = max(self.now, happens), math.inf
        while self._ends and self._ends[0][0] <= self.now:
            _, claim = heapq.heappop(self._ends)
            if self._has_ended(claim):
                demand = self._demands[claim]
                self._meter.hold(demand.principal, demand.unit, -self.units(claim), self.now)
                for known in (self._demands, self._held, self._leases):
                    known.pop(claim, None)
        while self._next is not None and self._next.demand.submitted <= self.now:
            demand = self._next.demand
            self._demands[demand.claim] = demand
            self._lengths[demand.claim] = self._next.length
            self._next = next(self._coming, None)
        return True

    def _has_ended(self, claim: str) -> bool:
        """False for a claim that gave all back meanwhile and waits, or started once more."""
        demand = self._demands.get(claim)
        if demand is None or not self._held.get(claim):
            return False
        started = self.now if demand.started is None else demand.started
        return started + self._lengths[claim] <= self.now


def _leases(claim: str, nodes: Mapping[str, int]) -> tuple[Lease, ...]:
    return tuple(Lease(claim, node, units) for node, units in nodes.items())
