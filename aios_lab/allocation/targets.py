"""How many units every claim should have: computed from zero, so that history cannot bend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from aios_lab.allocation.plenty import Spots, plenty
from aios_lab.allocation.room import ENDLESS, NOTHING, Rooms, Taken, fits, how_many, plus
from aios_lab.allocation.shares import Claimant, FairQueue, Held, Tree
from aios_lab.allocation.standing import Past
from aios_lab.allocation.types import Demand, Resources, Snapshot, Vector


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
    if not floor and demand.preemptible:
        return 0
    if not demand.preemptible:
        return max(floor, min(held, demand.max))
    return min(held, max(floor, starting_units(demand)))


def _claimants(snapshot: Snapshot, held: Held) -> list[Claimant]:
    """All claims by id, with nothing given to them yet."""
    claimants = []
    for demand in sorted(snapshot.demands, key=attrgetter("claim")):
        nodes = held.get(demand.claim)
        claimants.append(Claimant(demand, sum(nodes.values()) if nodes else 0, demand.unit.vector))
    return claimants


class Targets:
    """The fair targets of a snapshot: ``units`` by claim.

    ``kept`` are those that may not be taken, ``awards`` all others in the order of giving, but for these:
    ``ready`` is where those get their units who get all that they ask for at once; they have no awards.
    ``now`` is what is free besides. ``in_place`` are units that claims hold and that were counted where they
    are, by claim and node: what was found for others is beside them. ``lacking`` is by how much more is asked
    for than there is; where it is positive, there is not enough.
    """

    def __init__(self, snapshot: Snapshot, held: Held, rooms: Rooms) -> None:
        """``rooms``: the empty nodes."""
        self.held = held
        self.kept: dict[str, int] = {}
        self.awards: list[Award] = []
        self.ready: Mapping[str, Spots] = {}
        self.tree = Tree(snapshot.principals, Resources(*rooms.total()))
        self.claimants = _claimants(snapshot, held)
        self.in_place: dict[str, dict[int, int]] = {}
        everything = self._held_at(rooms.index, lambda claimant: claimant.held)
        self.now = rooms.without((node, claimant.unit, units) for claimant, node, units in everything)
        self._rooms = rooms.without(self._kept_at(rooms.index))
        self._nodes_of: dict[str, list[int]] = {}
        # By unit, how many had no room together: there will be none while room only gets less.
        self._hopeless: dict[Vector, int] = {}
        self._contending: list[Claimant] = []
        everybody = self._after_plenty()
        self.past = Past(snapshot, self.tree.capacity.vector, held)
        # What lies idle gets what the others leave: a quota that nobody uses is lent.
        for idle in (False, True):
            if contending := [each for each in everybody if each.demand.idle == idle]:
                self._contending = contending
                self._share()

    @property
    def units(self) -> Mapping[str, int]:
        return {c.demand.claim: c.count for c in self.claimants}

    def _share(self) -> None:
        """Quotas, then the rest, among those who contend."""
        depths = self.tree.quota_depths()
        for depth in depths:
            self._start(depth)
        for depth in depths:
            self._grow(depth)
        self._share_out()

    def _share_out(self) -> None:
        """What is neither kept nor guaranteed."""
        self._start(None)
        self._grow(None)

    def _keep(self, claimant: Claimant) -> int:
        """What may not be taken stays."""
        kept = kept_units(claimant.demand, claimant.held)
        if kept:
            self.kept[claimant.demand.claim] = kept
            self._give(claimant, kept)
        return kept

    def _kept_at(self, index: Mapping[str, int]) -> Iterator[Taken]:
        for claimant, node, units in self._held_at(index, self._keep):
            self.in_place.setdefault(claimant.demand.claim, {})[node] = units
            yield node, claimant.unit, units

    def _held_at(
        self, index: Mapping[str, int], most: Callable[[Claimant], int]
    ) -> Iterator[tuple[Claimant, int, int]]:
        """Of what each claim holds so many units at most, on its first nodes by name."""
        for claimant in self.claimants:
            left = most(claimant) if claimant.held else 0
            if left:
                for node, units in self.held[claimant.demand.claim].items():
                    yield claimant, index[node], units if units < left else left
                    left -= units
                    if left <= 0:
                        break

    def _give(self, claimant: Claimant, units: int) -> None:
        claimant.count += units
        self.tree.use_units(claimant.demand.principal, claimant.unit, units)

    def _after_plenty(self) -> list[Claimant]:
        """Those who contend: all who ask for more, but for those whom there is plenty for."""
        asking = [c for c in self.claimants if c.count < c.demand.max]
        self.lacking = self._lacking(asking)
        if max(self.lacking) > 0 or (found := plenty(self.claimants, self.tree, self.now)) is None:
            return asking
        contending = {claimant.demand.claim: claimant for claimant in found.contending}
        freeable = found.now.copy()
        index = freeable.index
        for claim, claimant in contending.items():
            left = claimant.count
            for node, units in self.held.get(claim, {}).items():
                free = units - min(left, units)
                left -= units - free
                freeable.put(index[node], plus(freeable.free[index[node]], claimant.unit, free))
        self.ready, self.now, self._rooms = found.ready, found.now, freeable
        for claimant in found.served:
            self._give(claimant, claimant.demand.max - claimant.count)
        return found.contending

    def _lacking(self, asking: Iterable[Claimant]) -> Vector:
        """By how much they ask for more than all nodes have left together; negative where that is less."""
        units: dict[Vector, int] = {}
        for claimant in asking:
            units[claimant.unit] = units.get(claimant.unit, 0) + claimant.demand.max - claimant.count
        lacking = plus(NOTHING, self._rooms.total(), -1)
        for unit, count in units.items():
            lacking = plus(lacking, unit, count)
        return lacking

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
        keys = self.past.keys(self.tree, depth, starting=together)
        queue = FairQueue(self.tree, self._hopeful(depth), keys)
        given: dict[str, int] = {}
        while (claimant := queue.best()) is not None:
            units = claimant.step
            if not self._allowed(claimant, depth) or not self._place(claimant):
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
        having = {principal for principal in principals if self.tree.has_quota(principal, depth)}
        return [c for c in found if c.demand.principal in having]

    def _allowed(self, claimant: Claimant, depth: int | None) -> bool:
        """Whether quota and limits leave room for the next step."""
        tree, principal = self.tree, claimant.demand.principal
        if depth is not None and not tree.within_quota(principal, claimant.unit, claimant.step, depth):
            return False
        return tree.within_limits(principal, claimant.unit, claimant.step)

    def _place(self, claimant: Claimant) -> bool:
        """Take room for all units of the next step, or none: those that it holds already where they are, as
        long as there is room; the others first fit by node name.

        Nothing migrates, and where units are decides about what fits beside them: what is to be had must be
        found beside what is there, or two claims could take turns for ever.
        """
        unit, units = claimant.unit, claimant.step
        if units >= self._hopeless.get(unit, ENDLESS):
            return False
        rooms, missing = self._rooms, units
        taken: list[tuple[int, int]] = []
        if claimant.count < claimant.held:
            for node in self._places(claimant)[claimant.count : claimant.count + units]:
                if fits(unit, rooms.free[node]):
                    rooms.take(node, unit)
                    taken.append((node, 1))
                    missing -= 1
        staying = len(taken)
        while missing and (found := rooms.first(unit)) is not None:
            fitting = min(missing, how_many(unit, rooms.free[found])) if missing > 1 else 1
            rooms.take(found, unit, fitting)
            taken.append((found, fitting))
            missing -= fitting
        if missing:
            for node, count in taken:
                rooms.put(node, plus(rooms.free[node], unit, count))
            self._hopeless[unit] = units
            return False
        if staying:
            places = self.in_place.setdefault(claimant.demand.claim, {})
            for node, count in taken[:staying]:
                places[node] = places.get(node, 0) + count
        return True

    def _places(self, claimant: Claimant) -> list[int]:
        """The node of each unit that it holds, by name."""
        claim = claimant.demand.claim
        if (known := self._nodes_of.get(claim)) is None:
            index, nodes = self._rooms.index, self.held[claim].items()
            known = self._nodes_of[claim] = [index[name] for name, units in nodes for _ in range(units)]
        return known
