"""Whom to shrink so that others get what the targets give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aios_lab.allocation.board import Board, Place, missing
from aios_lab.allocation.shares import dominant_part
from aios_lab.allocation.targets import kept_units, starting_units
from aios_lab.allocation.types import Vector

SEARCHED = 32  # nodes that are compared for the one where room costs least


class Cost(NamedTuple):
    """What room costs, dearest first: whole leases, units of claims that are in use, all units."""

    leases: int
    busy: int
    units: int


class Step(NamedTuple):
    """What one victim gave: a unit of what it can spare, or its whole lease; units by node."""

    victim: str
    whole: bool
    units: list[tuple[int, int]]


class Search:
    """Where units of one shape, under the same limits, may have room once others give some back.

    ``costs`` says what room on a node cost when it was last looked at. That may have become more since, so it
    only decides where to try next.
    """

    def __init__(self) -> None:
        self.costs: dict[int, Cost] = {}
        self.last: int | None = None  # the node that was best last time: others of its units may go as well
        self.next = 0  # nodes before it were all looked at

    def cheapest(self) -> int | None:
        """Take out the node with the lowest cost, the first by name of equal ones."""
        if not self.costs:
            return None
        node = min(self.costs, key=lambda each: (self.costs[each], each))
        del self.costs[node]
        return node


class Reclaim:
    """Takes units of claims that are over target, by rising cost: single units, of claims that lie idle and
    then of those in use, then whole claims whose target is nothing; of equal ones from the furthest over."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._searches: dict[tuple[Vector, tuple[str, ...]], Search] = {}
        # The claims over target, their unit and how many they keep at least, by where shrinking makes room.
        self._over: dict[Place, list[tuple[str, Vector, int]]] = {}
        self._parts = {claim: dominant_part(board.vectors[claim], board.capacity) for claim in board.over}
        partly = False
        for claim in board.over:
            least = max(board.targets[claim], starting_units(board.demands[claim]))
            partly = partly or board.held(claim) > least
            nodes = (node for node, units in board.spare[claim].items() if units > 0)
            places: list[Place] = [*nodes, *board.limited[claim]]
            for place in places:
                self._over.setdefault(place, []).append((claim, board.vectors[claim], least))
        # No unit can be had for less: there is no need to look further.
        idle = any(board.demands[claim].idle for claim in board.over)
        self._lowest = Cost(0 if partly else 1, 0 if idle else 1, 1)

    def make_room(self, claim: str) -> bool:
        """Shrink others until a unit of the claim fits on a node; whether it can be.

        Of the first nodes by name where it can be, one where that costs little. At least one unit goes:
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
        """Look at nodes until enough are known; done at once where none can cost less, or is known to."""
        board, node = self._board, search.last
        search.last, known = None, len(search.costs) + 1 >= SEARCHED
        while True:
            if node is not None:
                mark = board.mark()
                cost = self._try(node, claim)
                if cost is not None:
                    if cost <= self._lowest or (known and cost <= min(search.costs.values())):
                        search.last = node
                        return True
                    search.costs[node] = cost
                board.back(mark)
            if len(search.costs) >= SEARCHED:
                return False
            node = board.most.first(board.vectors[claim], search.next)
            if node is None:
                return False
            search.next = node + 1

    def _try(self, node: int, claim: str) -> Cost | None:
        """Shrink others until a unit fits on the node; what that costs. None, and nothing went, if it cannot
        be."""
        board, unit = self._board, self._board.vectors[claim]
        steps: list[Step] = []
        mark = board.mark()
        while (place := board.short(claim, node)) is not None:
            step = self.shrink_for(place, missing(unit, board.room_at(place)), node)
            if step is None:
                board.back(mark)
                return None
            steps.append(step)
        # Those that later ones made needless are undone, whole leases before single units.
        earlier = sorted(steps[:-1], key=lambda step: not step.whole)
        needed = [step for step in earlier if not self._put_back(claim, node, step)] + steps[-1:]
        return self._cost(needed)

    def _put_back(self, claim: str, node: int, step: Step) -> bool:
        """Undo a step, unless it is needed or its victim would be left with less than a minimum."""
        board = self._board
        if not step.whole and not board.held(step.victim):
            return False
        mark = board.mark()
        for place, units in step.units:
            board.take_away(step.victim, place, -units)
        if board.short(claim, node) is None:
            return True
        board.back(mark)
        return False

    def _cost(self, steps: Sequence[Step]) -> Cost:
        board = self._board
        gone = [(step.victim, units) for step in steps for _, units in step.units]
        leases = {victim for victim, _ in gone if not board.held(victim)}
        busy = sum(units for victim, units in gone if not board.demands[victim].idle)
        return Cost(len(leases), busy, sum(units for _, units in gone))

    def shrink_for(self, place: Place, lacking: Sequence[int], node: int | None = None) -> Step | None:
        """Take one unit, or a whole claim where none can go alone, from who comes first by ``_order``."""
        board, holds, spare = self._board, self._board.holds, self._board.spare
        node_there = place if isinstance(place, int) else None
        singles, wholes = [], []
        for claim, unit, least in self._over.get(place, ()):
            held = holds[claim]
            if not held or (node_there is not None and spare[claim][node_there] <= 0):
                continue
            if not any(unit[which] for which in lacking):
                continue
            if held > least:
                singles.append(claim)
            elif not board.targets[claim] and not kept_units(board.demands[claim], held):
                wholes.append(claim)
        if not singles and not wholes:
            return None
        victim = min(singles or wholes, key=self._order)
        step = Step(victim, not singles, self._going(victim, place, node, whole=not singles))
        for at, units in step.units:
            board.take_away(victim, at, units)
        return step

    def _going(self, victim: str, place: Place, node: int | None, whole: bool) -> list[tuple[int, int]]:
        """Units of the victim by node: all of them, or one, on the given node where it has some there."""
        if whole:
            return [(at, units) for at, units in self._board.units[victim].items() if units]
        if isinstance(place, int):
            return [(place, 1)]
        spare = [at for at, units in self._board.spare[victim].items() if units > 0]
        return [(node if node is not None and node in spare else spare[-1], 1)]

    def _order(self, claim: str) -> tuple[bool, float, float, str]:
        """Who lies idle before who is in use, then the furthest over target, as a dominant share; equal ones
        by who asked last, then by id."""
        demand = self._board.demands[claim]
        part, whole = self._parts[claim]
        over = self._board.held(claim) - self._board.targets[claim]
        return not demand.idle, -(part * over / whole), -demand.submitted, claim
