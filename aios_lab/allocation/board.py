"""The room there is now, the room that shrinking makes later, and whom to shrink for it.

Two things can be short: a node's capacity and a principal's limit. Both are *places* with room, and a held
unit takes room in its node and in every limited principal above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from aios_lab.allocation.room import Rooms, fits, how_many, plus, smaller
from aios_lab.allocation.shares import Held, Tree, total_capacity, weighted_share
from aios_lab.allocation.targets import kept_units, starting_units
from aios_lab.allocation.types import RESOURCES, Change, Demand, Resources, Snapshot, Vector

SEARCHED = 32  # nodes that are tried for the one where the fewest units have to go

# A place is the number of a node, or the path of a limited principal.
Place = int | str


def short_of(need: Resources, have: Resources) -> tuple[str, ...]:
    """The resources of which not enough is there; what is not needed may well be overdrawn."""
    return tuple(RESOURCES[which] for which in _missing(need.vector, have.vector))


def _missing(need: Vector, have: Vector) -> tuple[int, ...]:
    return tuple(which for which in range(4) if need[which] > max(0, have[which]))


@dataclass
class Limit:
    """What a limit leaves now, and once all shrinks are done."""

    now: Vector
    room: Vector


class Board:
    """Mutable state of one decision: ``mark`` it, try something, and go ``back`` to the mark if it fails."""

    def __init__(self, snapshot: Snapshot, held: Held, rooms: Rooms, targets: Mapping[str, int]) -> None:
        """``rooms``: the empty nodes."""
        self.targets = targets
        self.capacity = total_capacity(snapshot)
        self.demands = {demand.claim: demand for demand in sorted(snapshot.demands, key=attrgetter("claim"))}
        self.vectors = {claim: demand.unit.vector for claim, demand in self.demands.items()}
        self.now = rooms
        self.limits: dict[str, Limit] = {}
        self.limited = self._limited(snapshot)
        self.units: dict[str, dict[int, int]] = {}
        self.lost: dict[tuple[str, int], int] = {}
        self._held: dict[str, int] = {}
        self._hold(held)
        self.room, self.most = self.now.copy(), self.now.copy()
        # Only these can ever be shrunk for others: nobody's units grow while a plan is made.
        self._over = sorted(claim for claim, held in self._held.items() if held > targets[claim])
        self._over_on: dict[int, list[str]] = {}
        for claim in self._over:
            spare = self._held[claim] - targets[claim]
            for node, units in self.units[claim].items():
                self._over_on.setdefault(node, []).append(claim)
                self.most.put(node, plus(self.most.free[node], self.vectors[claim], min(units, spare)))
        self._journal: list[Callable[[], None]] = []

    def _limited(self, snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
        """The limited principals above each claim."""
        tree = Tree(snapshot.principals, self.capacity)
        found: dict[str, tuple[str, ...]] = {}
        for principal in {demand.principal for demand in self.demands.values()}:
            for name, limit in tree.limits(principal):
                self.limits.setdefault(name, Limit(limit, limit))
            found[principal] = tuple(name for name, _ in tree.limits(principal))
        return {claim: found[demand.principal] for claim, demand in self.demands.items()}

    def _hold(self, held: Held) -> None:
        index = self.now.index
        for claim, nodes in held.items():
            unit = self.vectors[claim]
            self.units[claim] = {index[name]: units for name, units in nodes.items()}
            for node, units in self.units[claim].items():
                self.now.take(node, unit, units)
            self._held[claim] = total = sum(nodes.values())
            for name in self.limited[claim]:
                limit = self.limits[name]
                limit.now = limit.room = plus(limit.now, unit, -total)

    # --- trying and taking back ----------------------------------------------------------------------------

    def mark(self) -> int:
        return len(self._journal)

    def back(self, mark: int) -> None:
        """Undo all that was done since the mark."""
        while len(self._journal) > mark:
            self._journal.pop()()

    def _remember(self, node: int) -> None:
        now, room, most = self.now.free[node], self.room.free[node], self.most.free[node]

        def undo() -> None:
            self.now.put(node, now)
            self.room.put(node, room)
            self.most.put(node, most)

        self._journal.append(undo)

    def _set_limit(self, limit: Limit, now: Vector, room: Vector) -> None:
        before = limit.now, limit.room
        limit.now, limit.room = now, room

        def undo() -> None:
            limit.now, limit.room = before

        self._journal.append(undo)

    # --- what there is -------------------------------------------------------------------------------------

    def held(self, claim: str) -> int:
        return self._held.get(claim, 0)

    def limits_leave(self, claim: str, later: bool = False) -> bool:
        """Whether the limits above the claim leave room for a unit more, now or after all shrinks."""
        unit, limits = self.vectors[claim], self.limits
        return all(
            fits(unit, limits[name].room if later else limits[name].now) for name in self.limited[claim]
        )

    def _short(self, claim: str, node: int) -> Place | None:
        """A place that lacks room for one more unit even when all shrinks so far are done."""
        unit = self.vectors[claim]
        if not fits(unit, self.room.free[node]):
            return node
        return next((name for name in self.limited[claim] if not fits(unit, self.limits[name].room)), None)

    def places(self) -> list[Place]:
        """Limits, then nodes, each by name."""
        return [*sorted(self.limits), *range(len(self.room.free))]

    def overdrawn(self, place: Place) -> tuple[int, ...]:
        """The resources of which more is taken than there is, once all shrinks so far are done."""
        room = self._room(place)
        if min(room) >= 0:
            return ()
        return tuple(which for which in range(4) if room[which] < 0)

    def _room(self, place: Place) -> Vector:
        return self.room.free[place] if isinstance(place, int) else self.limits[place].room

    # --- taking and giving ---------------------------------------------------------------------------------

    def fitting(self, claim: str, node: int, later: bool = False) -> int:
        """How many units have room on the node and within the limits, now or after all shrinks."""
        unit, limits = self.vectors[claim], self.limits
        rooms = [limits[name].room if later else limits[name].now for name in self.limited[claim]]
        rooms.append((self.room if later else self.now).free[node])
        return min(how_many(unit, room) for room in rooms)

    def reserve(self, claim: str, node: int, units: int, ready: bool) -> None:
        """Take room for units: what is free when they can start now, else first what shrinking frees."""
        unit = self.vectors[claim]
        self._remember(node)
        self.room.take(node, unit, units)
        self.most.take(node, unit, units)
        if ready:
            self.now.take(node, unit, units)
        else:
            self.now.cut(node, self.room.free[node])
        for name in self.limited[claim]:
            limit = self.limits[name]
            room = plus(limit.room, unit, -units)
            self._set_limit(limit, plus(limit.now, unit, -units) if ready else smaller(limit.now, room), room)

    def take_away(self, claim: str, node: int, units: int) -> None:
        unit = self.vectors[claim]
        self._shift(claim, node, units)
        self._journal.append(lambda: self._shift(claim, node, -units))
        self._remember(node)
        self.room.put(node, plus(self.room.free[node], unit, units))
        for name in self.limited[claim]:
            limit = self.limits[name]
            self._set_limit(limit, limit.now, plus(limit.room, unit, units))

    def _shift(self, claim: str, node: int, units: int) -> None:
        self.units[claim][node] -= units
        self._held[claim] -= units
        self.lost[claim, node] = self.lost.get((claim, node), 0) + units

    def changes(self) -> tuple[Change, ...]:
        names = self.now.names
        return tuple(
            Change(claim, names[node], units) for (claim, node), units in sorted(self.lost.items()) if units
        )

    # --- whom to shrink ------------------------------------------------------------------------------------

    def room_by_shrinking(self, claim: str) -> int | None:
        """Shrink others until a unit fits, on the node where the fewest units have to go; that node, or none.

        Of the first few by name that can do it; at least one unit goes: the caller found no room without.
        """
        best: tuple[int, int] | None = None
        for node in self._candidates(claim):
            mark = self.mark()
            gone = self._make_room(claim, node)
            self.back(mark)
            if gone is not None and (best is None or gone < best[0]):
                best = gone, node
                if gone <= 1:
                    break
        if best is None:
            return None
        self._make_room(claim, best[1])
        return best[1]

    def _candidates(self, claim: str) -> Iterator[int]:
        """Nodes where a unit may have room once what is over target is gone, the first few by name."""
        node = self.most.first(self.vectors[claim]) if self._over else None
        looked = 0
        while node is not None and looked < SEARCHED:
            looked += 1
            yield node
            node = self.most.first(self.vectors[claim], node + 1)

    def _make_room(self, claim: str, node: int) -> int | None:
        """Shrink others until a unit fits on the node; how many units went, or none if it cannot be."""
        unit = self.vectors[claim]
        gone: list[tuple[str, int, int]] = []
        while (place := self._short(claim, node)) is not None:
            taken = self.shrink_for(place, _missing(unit, self._room(place)), node, spare=claim)
            if not taken:
                return None
            gone += taken
        return sum(units for _, _, units in gone) - self._put_back(claim, node, gone)

    def _put_back(self, claim: str, node: int, gone: list[tuple[str, int, int]]) -> int:
        """Undo the single shrinks that later ones made needless."""
        undone = 0
        for victim, place, units in gone:
            if units == 1 and self.units[victim][place]:
                self.take_away(victim, place, -1)
                if self._short(claim, node) is not None:
                    self.take_away(victim, place, 1)
                else:
                    undone += 1
        return undone

    def shrink_for(
        self, place: Place, missing: tuple[int, ...], node: int | None = None, spare: str = ""
    ) -> list[tuple[str, int, int]]:
        """Take one unit, or a whole claim where none can go alone, from whoever is furthest over target; what
        went, as claim, node and units."""
        near = self._over_on.get(place, []) if isinstance(place, int) else self._over
        helpful = [c for c in near if c != spare and self._gives(c, place, missing)]
        for pick in (self._elastic, self._releasable):
            victims = [claim for claim in helpful if pick(claim)]
            if victims:
                victim = min(victims, key=self._victim_order)
                gone = self._going(victim, place, node, whole=pick == self._releasable)
                for claim, from_node, units in gone:
                    self.take_away(claim, from_node, units)
                return gone
        return []

    def _elastic(self, claim: str) -> int:
        """Units above target that may go one by one: the minimum stays."""
        return max(0, self._held[claim] - max(self.targets[claim], starting_units(self.demands[claim])))

    def _releasable(self, claim: str) -> bool:
        """Whether the whole claim may go: its target is nothing and nothing of it must be kept."""
        held = self._held[claim]
        return held > 0 and self.targets[claim] == 0 and not kept_units(self.demands[claim], held)

    def _gives(self, claim: str, place: Place, missing: tuple[int, ...]) -> bool:
        """Whether shrinking helps: the claim has units at the place, and they hold what is missing."""
        unit = self.vectors[claim]
        if not any(unit[which] for which in missing):
            return False
        if isinstance(place, int):
            return bool(self.units[claim].get(place))
        return place in self.limited[claim] and self._held[claim] > 0

    def _going(self, victim: str, place: Place, node: int | None, whole: bool) -> list[tuple[str, int, int]]:
        held = {at: units for at, units in self.units[victim].items() if units}
        if whole:
            return [(victim, at, units) for at, units in held.items()]
        if isinstance(place, int):
            return [(victim, place, 1)]
        return [(victim, node if node is not None and node in held else [*held][-1], 1)]

    def _victim_order(self, claim: str) -> tuple[float, float, str]:
        demand = self.demands[claim]
        over = demand.unit * (self._held[claim] - self.targets[claim])
        return (-weighted_share(over, self.capacity, 1), -demand.submitted, claim)


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
    for claim in sorted(board.units):
        nodes = {names[node]: units for node, units in board.units[claim].items()}
        for name, units in surplus(board.demands[claim], nodes):
            board.take_away(claim, board.now.index[name], units)
