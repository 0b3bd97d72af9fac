"""How many units every claim should have: computed from zero, so that history cannot bend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import NamedTuple

from aios_lab.allocation.room import ENDLESS, NOTHING, Rooms, how_many, larger, plus
from aios_lab.allocation.shares import Claimant, FairQueue, Held, Tree, total_capacity
from aios_lab.allocation.types import Demand, Snapshot, Vector


class Award(NamedTuple):
    """Units given to a claim, ``together`` when it can do with no fewer of them."""

    claim: str
    units: int
    together: bool


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
    """The fair targets of a snapshot: ``units`` by claim, and ``awards`` in the order of giving.

    ``lacking`` is by how much more is asked for than there is; where it is positive, there is not enough.
    """

    def __init__(self, snapshot: Snapshot, held: Held, rooms: Rooms) -> None:
        """``rooms``: the empty nodes."""
        self.awards: list[Award] = []
        self._tree = Tree(snapshot.principals, total_capacity(snapshot))
        self._rooms = rooms
        # By unit, how many had no room together: there will be none while room only gets less.
        self._hopeless: dict[Vector, int] = {}
        self._claimants = self._keep(snapshot, held)
        self._contending = self._after_plenty()
        depths = self._tree.quota_depths()
        for depth in depths:
            self._start(depth)
        for depth in depths:
            self._grow(depth)
        self._share_out()

    @property
    def units(self) -> Mapping[str, int]:
        return {c.demand.claim: c.count for c in self._claimants}

    def _share_out(self) -> None:
        """What is neither kept nor guaranteed."""
        self._start(None)
        self._grow(None)

    def _keep(self, snapshot: Snapshot, held: Held) -> list[Claimant]:
        claimants = []
        for demand in sorted(snapshot.demands, key=attrgetter("claim")):
            nodes = held.get(demand.claim, {})
            claimant = Claimant(demand, sum(nodes.values()))
            claimants.append(claimant)
            left = kept_units(demand, claimant.held)
            if not left:
                continue
            self._give(claimant, left)
            for node, units in nodes.items():
                taken = min(left, units)
                self._rooms.take(self._rooms.index[node], claimant.unit, taken)
                left -= taken
        return claimants

    def _give(self, claimant: Claimant, units: int) -> None:
        claimant.count += units
        self._tree.use_units(claimant.demand.principal, claimant.unit, units)

    # --- when there is room for everything -----------------------------------------------------------------

    def _after_plenty(self) -> list[Claimant]:
        """Where all claims together have room, only limits are contended: who is under none of those that are
        gets everything, and no order is needed. The others, or all where room is scarce, are left to contend.
        """
        asking = [c for c in self._claimants if c.count < c.demand.max]
        self.lacking = self._lacking(asking)
        if max(self.lacking) > 0:
            return asking
        contending = self._under_tight_limits(asking)
        claims = {claimant.demand.claim for claimant in contending}
        served = [claimant for claimant in asking if claimant.demand.claim not in claims]
        before = self._rooms.copy()
        if self._all_fit(served):
            after = self._rooms.copy()
            if self._all_fit(contending):
                self._rooms = after
                self._give_everything(served)
                return contending
        self._rooms = before
        self._hopeless.clear()
        return asking

    def _under_tight_limits(self, asking: Iterable[Claimant]) -> list[Claimant]:
        """Those below a principal whose limit is lower than all that is used and asked for below it."""
        tree, limited = self._tree, [c for c in asking if self._tree.limits(c.demand.principal)]
        left: dict[str, Vector] = {}
        for claimant in limited:
            for name, limit in tree.limits(claimant.demand.principal):
                left.setdefault(name, plus(limit, tree.usage(name).vector, -1))
                left[name] = plus(left[name], claimant.unit, claimant.count - claimant.demand.max)
        tight = {name for name, amount in left.items() if min(amount) < 0}
        return [c for c in limited if any(name in tight for name, _ in tree.limits(c.demand.principal))]

    def _all_fit(self, asking: Iterable[Claimant]) -> bool:
        """Take room for all that they ask for; nobody can say which room is taken when it is not enough."""
        return all(self._place(c.unit, c.demand.max - c.count) for c in asking)

    def _lacking(self, asking: Iterable[Claimant]) -> Vector:
        """By how much they ask for more than all nodes have left together; negative where that is less."""
        units: dict[Vector, int] = {}
        for claimant in asking:
            units[claimant.unit] = units.get(claimant.unit, 0) + claimant.demand.max - claimant.count
        lacking = NOTHING
        for room in self._rooms.free:
            lacking = plus(lacking, larger(room, NOTHING), -1)
        for unit, count in units.items():
            lacking = plus(lacking, unit, count)
        return lacking

    def _give_everything(self, claimants: Iterable[Claimant]) -> None:
        starts, growth = [], []
        for claimant in sorted(claimants, key=lambda c: (c.demand.submitted, c.demand.claim)):
            demand, count = claimant.demand, claimant.count
            start = max(0, starting_units(demand) - count)
            if start:
                starts.append(Award(demand.claim, start, True))
            if demand.max > count + start:
                growth.append(Award(demand.claim, demand.max - count - start, False))
            self._give(claimant, demand.max - count)
        self.awards += (*starts, *growth)

    # --- when there is not ---------------------------------------------------------------------------------

    def _start(self, depth: int | None) -> None:
        """Minimums: all units of it at once or none."""
        for claimant in self._contending:
            claimant.goal = starting_units(claimant.demand)
            claimant.step = claimant.goal - claimant.count
        self._serve(depth, together=True)

    def _grow(self, depth: int | None) -> None:
        """Growth beyond the minimum, one unit at a time."""
        for claimant in self._contending:
            started = claimant.count or not starting_units(claimant.demand)
            claimant.goal = claimant.demand.max if started else 0
            claimant.step = 1
        self._serve(depth, together=False)

    def _serve(self, depth: int | None, together: bool) -> None:
        """Serve in fair order, step by step; with a depth, only within the quota of the principal there.

        Room, limits and quotas only get tighter, so a claim that cannot be served once never can.
        """
        queue = FairQueue(self._tree, self._hopeful(depth))
        given: dict[str, int] = {}
        while (claimant := queue.best()) is not None:
            units = claimant.step
            if not self._allowed(claimant, depth) or not self._place(claimant.unit, units):
                queue.drop(claimant)
                continue
            self._give(claimant, units)
            claim = claimant.demand.claim
            given[claim] = given.get(claim, 0) + units
            if claimant.count < claimant.goal:
                queue.served(claimant)
            else:
                queue.done(claimant)
        self.awards += (Award(claim, units, together) for claim, units in given.items())

    def _hopeful(self, depth: int | None) -> list[Claimant]:
        """Who has not reached the goal, could have room, and has a quota above it at this depth, if any."""
        hopeless = self._hopeless
        found = [c for c in self._contending if c.count < c.goal and c.step < hopeless.get(c.unit, ENDLESS)]
        if depth is None:
            return found
        principals = {claimant.demand.principal for claimant in found}
        having = {principal for principal in principals if self._tree.has_quota(principal, depth)}
        return [c for c in found if c.demand.principal in having]

    def _allowed(self, claimant: Claimant, depth: int | None) -> bool:
        """Whether quota and limits leave room for the next step."""
        tree, principal = self._tree, claimant.demand.principal
        if depth is not None and not tree.within_quota(principal, claimant.unit, claimant.step, depth):
            return False
        return tree.within_limits(principal, claimant.unit, claimant.step)

    def _place(self, unit: Vector, units: int) -> bool:
        """Take room for all of the units, first fit by node name, or none."""
        if units >= self._hopeless.get(unit, ENDLESS):
            return False
        rooms, missing = self._rooms, units
        taken: list[tuple[int, int]] = []
        node = rooms.first(unit)
        while node is not None:
            fitting = min(missing, how_many(unit, rooms.free[node])) if missing > 1 else 1
            if fitting == units:
                rooms.take(node, unit, units)
                return True
            taken.append((node, fitting))
            missing -= fitting
            if not missing:
                for place, count in taken:
                    rooms.take(place, unit, count)
                return True
            node = rooms.first(unit, node + 1)
        self._hopeless[unit] = units
        return False
