"""The room there is now, and the room that shrinking makes later.

Two things can be short: a node's capacity and a principal's limit. Both are *places* with room, and a held
unit takes room in its node and in every limited principal above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aios_lab.allocation.room import Rooms, fits, how_many, plus, smaller
from aios_lab.allocation.shares import Claimant, Held, Tree
from aios_lab.allocation.types import RESOURCES, Change, Demand, Resources, Vector

# A place is the number of a node, or the path of a limited principal.
Place = int | str


def short_of(need: Resources, have: Resources) -> tuple[str, ...]:
    """The resources of which not enough is there; what is not needed may well be overdrawn."""
    return tuple(RESOURCES[which] for which in missing(need.vector, have.vector))


def missing(need: Vector, have: Vector) -> tuple[int, ...]:
    """The resources of which not enough is there, as places in a vector."""
    return tuple(which for which in range(4) if need[which] > max(0, have[which]))


@dataclass
class Limit:
    """What a limit leaves now, and once all shrinks are done."""

    now: Vector
    room: Vector


class Board:
    """Mutable state of one decision: ``mark`` it, try something, and go ``back`` to the mark if it fails."""

    def __init__(
        self,
        tree: Tree,
        claimants: Sequence[Claimant],
        held: Held,
        rooms: Rooms,
        in_place: Mapping[str, Mapping[int, int]] = MappingProxyType({}),
    ) -> None:
        """``claimants``, by id, count what they should have; ``rooms`` is what is free now. Of a claim that
        keeps something, no unit is taken that is ``in_place``, by claim and node."""
        self.capacity = tree.capacity
        self.demands = {one.demand.claim: one.demand for one in claimants}
        self.targets = {one.demand.claim: one.count for one in claimants}
        self.vectors = {one.demand.claim: one.unit for one in claimants}
        self.holds = {one.demand.claim: one.held for one in claimants}
        self.limits: dict[str, Limit] = {}
        self.limited = self._limited(tree)
        # Only these can ever be shrunk: nobody's units grow while a plan is made.
        self.over = [one.demand.claim for one in claimants if one.held > one.count]
        index = rooms.index
        self.units = {claim: {index[name]: n for name, n in held[claim].items()} for claim in self.over}
        self.spare = {claim: _beyond(self.units[claim], in_place.get(claim, {})) for claim in self.over}
        self.lost: dict[tuple[str, int], int] = {}
        # What is free now, what will be once all shrinks are done, and what could be.
        self.now = self.room = self.most = rooms
        if self.over:
            self.room, self.most = rooms.copy(), rooms.copy()
        for claim in self.over:
            spare = self.holds[claim] - self.targets[claim]
            for node, units in self.spare[claim].items():
                self.most.put(node, plus(self.most.free[node], self.vectors[claim], min(units, spare)))
        self._rooms = (self.now, self.room, self.most) if self.over else (self.now,)
        self._journal: list[Callable[[], None]] = []

    def _limited(self, tree: Tree) -> dict[str, tuple[str, ...]]:
        """The limited principals above each claim, which know what is held below them."""
        found: dict[str, tuple[str, ...]] = {}
        limited = {}
        for claim, demand in self.demands.items():
            names = found.get(demand.principal)
            if names is None:
                for branch, limit in tree.limits(demand.principal):
                    self.limits.setdefault(branch.name, Limit(limit, limit))
                names = tuple(branch.name for branch, _ in tree.limits(demand.principal))
                found[demand.principal] = names
            limited[claim] = names
            if names and (units := self.holds[claim]):
                self._charge(names, self.vectors[claim], units)
        return limited

    def _charge(self, names: Iterable[str], unit: Vector, units: int) -> None:
        for name in names:
            limit = self.limits[name]
            limit.now = limit.room = plus(limit.now, unit, -units)

    def charge(self, claim: str, units: int) -> None:
        """Units that have their room already count against the limits above the claim."""
        self._charge(self.limited[claim], self.vectors[claim], units)

    # --- trying and taking back ----------------------------------------------------------------------------

    def mark(self) -> int:
        return len(self._journal)

    def back(self, mark: int) -> None:
        """Undo all that was done since the mark."""
        while len(self._journal) > mark:
            self._journal.pop()()

    def settle(self) -> None:
        """What was done so far stays."""
        self._journal.clear()

    def _remember(self, node: int) -> None:
        before = [rooms.free[node] for rooms in self._rooms]

        def undo() -> None:
            for rooms, room in zip(self._rooms, before, strict=True):
                rooms.put(node, room)

        self._journal.append(undo)

    def _remember_limits(self, limits: Sequence[Limit]) -> None:
        if not limits:
            return
        before = [(limit.now, limit.room) for limit in limits]

        def undo() -> None:
            for limit, (now, room) in zip(limits, before, strict=True):
                limit.now, limit.room = now, room

        self._journal.append(undo)

    # --- what there is -------------------------------------------------------------------------------------

    def held(self, claim: str) -> int:
        return self.holds[claim]

    def within_limits(self, claim: str) -> bool:
        """Whether the limits above the claim leave room for a unit more now."""
        limited = self.limited[claim]
        return not limited or all(fits(self.vectors[claim], self.limits[name].now) for name in limited)

    def short(self, claim: str, node: int) -> Place | None:
        """A place that lacks room for one more unit even when all shrinks so far are done."""
        unit = self.vectors[claim]
        if not fits(unit, self.room.free[node]):
            return node
        return next((name for name in self.limited[claim] if not fits(unit, self.limits[name].room)), None)

    def overdrawn_places(self) -> list[Place]:
        """Where more is taken than there is once all shrinks so far are done: limits, then nodes, by name."""
        limits: list[Place] = [name for name in sorted(self.limits) if min(self.limits[name].room) < 0]
        return [*limits, *(node for node, room in enumerate(self.room.free) if min(room) < 0)]

    def overdrawn(self, place: Place) -> tuple[int, ...]:
        """The resources of which more is taken than there is, once all shrinks so far are done."""
        room = self.room_at(place)
        return tuple(which for which in range(4) if room[which] < 0)

    def room_at(self, place: Place) -> Vector:
        """What is left there once all shrinks so far are done."""
        return self.room.free[place] if isinstance(place, int) else self.limits[place].room

    # --- taking and giving ---------------------------------------------------------------------------------

    def take(self, claim: str, units: int, later: bool = False) -> list[tuple[int, int]]:
        """Take room for at most so many units, as the placement says: what is free now, or ``later``,
        once all shrinks so far are done. On which nodes, and how many on each.

        When all have room, that cannot be undone: there is no reason to.
        """
        unit, limits = self.vectors[claim], [self.limits[name] for name in self.limited[claim]]
        left = units
        for limit in limits:
            left = min(left, how_many(unit, limit.room if later else limit.now))
        short, rooms = left < units, self.room if later else self.now
        spots: list[tuple[int, int]] = []
        while left > 0 and (node := rooms.pick(unit)) is not None:
            count = min(left, how_many(unit, rooms.free[node])) if left > 1 else 1
            left -= count
            if left or short:
                self._remember(node)
                self._remember_limits(limits)
            self._reserve(unit, limits, node, count, later)
            spots.append((node, count))
        return spots

    def _reserve(self, unit: Vector, limits: Iterable[Limit], node: int, units: int, later: bool) -> None:
        """Units that start later first use what shrinking frees."""
        for rooms in self._rooms[1:] if later else self._rooms:
            rooms.take(node, unit, units)
        if later:
            self.now.cut(node, self.room.free[node])
        for limit in limits:
            limit.room = plus(limit.room, unit, -units)
            limit.now = smaller(limit.now, limit.room) if later else plus(limit.now, unit, -units)

    def take_away(self, claim: str, node: int, units: int) -> None:
        unit = self.vectors[claim]
        self._shift(claim, node, units)
        self._journal.append(lambda: self._shift(claim, node, -units))
        self._remember(node)
        self.room.put(node, plus(self.room.free[node], unit, units))
        limits = [self.limits[name] for name in self.limited[claim]]
        self._remember_limits(limits)
        for limit in limits:
            limit.room = plus(limit.room, unit, units)

    def _shift(self, claim: str, node: int, units: int) -> None:
        self.units[claim][node] -= units
        self.spare[claim][node] -= units
        self.holds[claim] -= units
        self.lost[claim, node] = self.lost.get((claim, node), 0) + units

    def changes(self) -> tuple[Change, ...]:
        names = self.now.names
        return tuple(
            Change(claim, names[node], units) for (claim, node), units in sorted(self.lost.items()) if units
        )


def _beyond(units: Mapping[int, int], in_place: Mapping[int, int]) -> dict[int, int]:
    """The units on each node beyond those that are in place."""
    return {node: count - in_place.get(node, 0) for node, count in units.items()}


def surplus(demand: Demand, nodes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What a claim holds above its own maximum, because its owner asked for less; last nodes first."""
    held = sum(nodes.values())
    over = held - max(demand.max, min(demand.floor, held))
    for node in sorted(nodes, reverse=True):
        if (units := min(over, nodes[node])) > 0:
            over -= units
            yield node, units


def give_back(board: Board) -> None:
    """Take at once what claims hold above their own maximum."""
    names = board.now.names
    for claim in sorted(claim for claim in board.over if board.held(claim) > board.demands[claim].max):
        nodes = {names[node]: units for node, units in board.units[claim].items()}
        for name, units in surplus(board.demands[claim], nodes):
            board.take_away(claim, board.now.index[name], units)
