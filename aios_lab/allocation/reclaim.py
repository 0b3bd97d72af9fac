"""Whom to shrink so that others get what the targets give them."""

from __future__ import annotations

from collections.abc import Sequence

from aios_lab.allocation.board import Board, Place, missing
from aios_lab.allocation.shares import dominant_part
from aios_lab.allocation.targets import kept_units, starting_units
from aios_lab.allocation.types import Vector

SEARCHED = 32  # nodes that are compared for the one where the fewest units have to go


class Search:
    """Where units of one shape, under the same limits, may have room once others give some back.

    ``costs`` says how many units had to go when a node was last looked at. They may have become more since,
    so they only decide where to try next.
    """

    def __init__(self) -> None:
        self.costs: dict[int, int] = {}
        self.last: int | None = None  # the node that was best last time: others of its units may go as well
        self.next = 0  # nodes before it were all looked at

    def cheapest(self) -> int | None:
        """Take out the node with the fewest units to go, the first by name of equal ones."""
        if not self.costs:
            return None
        node = min(self.costs, key=lambda each: (self.costs[each], each))
        del self.costs[node]
        return node


class Reclaim:
    """Takes units of claims that are over target, by rising harm: single units, from whoever is furthest
    over, then whole claims whose target is nothing."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._searches: dict[tuple[Vector, tuple[str, ...]], Search] = {}
        # The claims over target, by where shrinking them makes room.
        self._over: dict[Place, list[str]] = {}
        self._least: dict[str, int] = {}
        self._parts: dict[str, tuple[int, int]] = {}
        for claim in board.over:
            places: list[Place] = [*board.units[claim], *board.limited[claim]]
            for place in places:
                self._over.setdefault(place, []).append(claim)
            self._least[claim] = max(board.targets[claim], starting_units(board.demands[claim]))
            self._parts[claim] = dominant_part(board.vectors[claim], board.capacity)

    def make_room(self, claim: str) -> bool:
        """Shrink others until a unit of the claim fits on a node; whether it can be.

        Of the first nodes by name where it can be, one where few units have to go. At least one unit goes:
        the caller found no room without.
        """
        if not self._board.over:
            return False
        case = self._board.vectors[claim], self._board.limited[claim]
        search = self._searches.setdefault(case, Search())
        if self._look(search, claim):
            return True
        while (node := search.cheapest()) is not None:
            if self._try(node, claim) is not None:
                search.last = node
                return True
        return False

    def _look(self, search: Search, claim: str) -> bool:
        """Look at nodes until enough are known; done at once where a single unit has to go."""
        board, node = self._board, search.last
        search.last = None
        while True:
            if node is not None:
                mark = board.mark()
                cost = self._try(node, claim)
                if cost is not None and cost <= 1:
                    search.last = node
                    return True
                board.back(mark)
                if cost is not None:
                    search.costs[node] = cost
            if len(search.costs) >= SEARCHED:
                return False
            node = board.most.first(board.vectors[claim], search.next)
            if node is None:
                return False
            search.next = node + 1

    def _try(self, node: int, claim: str) -> int | None:
        """Shrink others until a unit fits on the node; how many units went. None, and nothing went, if it
        cannot be."""
        board, unit = self._board, self._board.vectors[claim]
        gone: list[tuple[str, int, int]] = []
        mark = board.mark()
        while (place := board.short(claim, node)) is not None:
            taken = self.shrink_for(place, missing(unit, board.room_at(place)), node)
            if not taken:
                board.back(mark)
                return None
            gone += taken
        return sum(units for _, _, units in gone) - self._put_back(claim, node, gone)

    def _put_back(self, claim: str, node: int, gone: list[tuple[str, int, int]]) -> int:
        """Undo the single shrinks that later ones made needless."""
        board, undone = self._board, 0
        for victim, place, units in gone[:-1]:
            if units == 1 and board.units[victim][place]:
                board.take_away(victim, place, -1)
                if board.short(claim, node) is not None:
                    board.take_away(victim, place, 1)
                else:
                    undone += 1
        return undone

    def shrink_for(
        self, place: Place, lacking: Sequence[int], node: int | None = None
    ) -> list[tuple[str, int, int]]:
        """Take one unit, or a whole claim where none can go alone, from whoever is furthest over target; what
        went, as claim, node and units."""
        board = self._board
        singles, wholes = [], []
        for claim in self._over.get(place, ()):
            unit, held = board.vectors[claim], board.held(claim)
            if not held or not any(unit[which] for which in lacking):
                continue
            if isinstance(place, int) and not board.units[claim][place]:
                continue
            if held > self._least[claim]:
                singles.append(claim)
            elif not board.targets[claim] and not kept_units(board.demands[claim], held):
                wholes.append(claim)
        if not singles and not wholes:
            return []
        victim = min(singles or wholes, key=self._order)
        gone = self._going(victim, place, node, whole=not singles)
        for at, units in gone:
            board.take_away(victim, at, units)
        return [(victim, at, units) for at, units in gone]

    def _going(self, victim: str, place: Place, node: int | None, whole: bool) -> list[tuple[int, int]]:
        """Units of the victim by node: all of them, or one, on the given node where it has some there."""
        held = {at: units for at, units in self._board.units[victim].items() if units}
        if whole:
            return [*held.items()]
        if isinstance(place, int):
            return [(place, 1)]
        return [(node if node is not None and node in held else [*held][-1], 1)]

    def _order(self, claim: str) -> tuple[float, float, str]:
        """Furthest over target first, as a dominant share; equal ones by who asked last, then by id."""
        part, whole = self._parts[claim]
        over = self._board.held(claim) - self._board.targets[claim]
        return -(part * over / whole), -self._board.demands[claim].submitted, claim
