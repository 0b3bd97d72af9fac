"""How many units every claim should have: computed from zero, so that history cannot bend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aios_lab.allocation.room import Rooms, how_many
from aios_lab.allocation.shares import Claimant, FairQueue, Keys, Tree, held_units, total_capacity
from aios_lab.allocation.standing import Past
from aios_lab.allocation.types import Demand, Snapshot, Vector

# A claim and how many units it was given at once, in the order of giving.
Award = tuple[str, int]


def starting_units(demand: Demand) -> int:
    """The units a claim starts with, all or none."""
    return max(0, min(demand.min, demand.max))


def kept_units(demand: Demand, held: int) -> int:
    """The units that no policy may take: those of a busy run, and all of a claim that is not preemptible.

    What its owner gave back by lowering ``max`` is not kept.
    """
    floor = min(held, demand.floor)
    if not demand.preemptible:
        return max(floor, min(held, demand.max))
    return min(held, max(floor, starting_units(demand))) if floor else 0


class Targets:
    """The fair targets of a snapshot: ``units`` by claim, and ``awards`` in the order of giving."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.awards: list[Award] = []
        self._tree = Tree(snapshot.principals, total_capacity(snapshot))
        self._past = Past(snapshot, self._tree.capacity.vector)
        self._rooms = Rooms(snapshot.nodes)
        self._claimants = self._keep(snapshot)
        depths = range(
            max((len(self._tree.path(d.principal)) for d in snapshot.demands), default=0) - 1, -1, -1
        )
        for depth in depths:
            self._start(depth)
        for depth in depths:
            self._grow(depth)
        self._start(None)
        self._grow(None)

    @property
    def units(self) -> Mapping[str, int]:
        return {c.demand.claim: c.count for c in self._claimants}

    def _keep(self, snapshot: Snapshot) -> list[Claimant]:
        held = held_units(snapshot)
        claimants = []
        for demand in sorted(snapshot.demands, key=lambda d: d.claim):
            nodes = held.get(demand.claim, {})
            claimant = Claimant(demand, sum(nodes.values()))
            left = kept_units(demand, claimant.held)
            for node, units in nodes.items():
                taken = min(left, units)
                if taken:
                    self._rooms.take(self._rooms.index[node], claimant.unit, taken)
                    left -= taken
                    self._give(claimant, taken)
            claimants.append(claimant)
        return claimants

    def _give(self, claimant: Claimant, units: int) -> None:
        claimant.count += units
        self._tree.use_units(claimant.demand.principal, claimant.unit, units)

    def _start(self, depth: int | None) -> None:
        """Minimums: all units of it at once or none."""
        waiting = [c for c in self._claimants if c.count < starting_units(c.demand)]
        keys = self._past.keys(self._tree, depth, starting=True)
        self._serve(waiting, depth, lambda c: starting_units(c.demand) - c.count, keys)

    def _grow(self, depth: int | None) -> None:
        """Growth beyond the minimum, one unit at a time."""
        started = [c for c in self._claimants if c.count >= starting_units(c.demand) or c.count]
        growing = [c for c in started if c.count < c.demand.max]
        keys = self._past.keys(self._tree, depth)
        self._serve(growing, depth, lambda c: min(1, c.demand.max - c.count), keys)

    def _serve(
        self, claimants: Iterable[Claimant], depth: int | None, step: Callable[[Claimant], int], keys: Keys
    ) -> None:
        """Serve in fair order; with a depth, only within the quota of the principal there.

        Room, limits and quotas only get tighter, so a claim that cannot be served once never can.
        """
        if depth is not None:
            claimants = [c for c in claimants if self._tree.has_quota(c.demand.principal, depth)]
        queue = FairQueue(self._tree, claimants, keys)
        while (claimant := queue.best()) is not None:
            units = step(claimant)
            if (
                units <= 0
                or not self._allowed(claimant.demand, units, depth)
                or not self._place(claimant.unit, units)
            ):
                queue.drop(claimant)
                continue
            self._give(claimant, units)
            self.awards.append((claimant.demand.claim, units))
            queue.served(claimant)

    def _allowed(self, demand: Demand, units: int, depth: int | None) -> bool:
        amount = demand.unit if units == 1 else demand.unit * units
        if depth is not None and not self._tree.within_quota(demand.principal, amount, depth):
            return False
        return self._tree.over_limit(demand.principal, amount) is None

    def _place(self, unit: Vector, units: int) -> bool:
        """Take room for all of the units, first fit by node name, or none."""
        rooms, taken = self._rooms, []
        node = rooms.first(unit)
        while node is not None:
            fitting = min(units, how_many(unit, rooms.free[node]))
            taken.append((node, fitting))
            units -= fitting
            if not units:
                for place, count in taken:
                    rooms.take(place, unit, count)
                return True
            node = rooms.first(unit, node + 1)
        return False
