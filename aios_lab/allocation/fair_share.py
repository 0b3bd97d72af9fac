"""The default policy: hierarchical weighted DRF, minimum first, then growth.

Targets come from ``targets``; this module turns them into what to do now. Nothing migrates: a claim keeps its
units where they are, and those above target go only when somebody below target needs the room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aios_lab.allocation.board import Board, give_back
from aios_lab.allocation.room import Rooms
from aios_lab.allocation.shares import Claimant, FairQueue, Tree, held_units
from aios_lab.allocation.targets import Award, Targets, starting_units
from aios_lab.allocation.types import Change, Plan, Snapshot, Vector

Spot = tuple[str, int]  # a claim and a node


class Placement:
    """Units of claims on nodes: those that start now, and those that wait for others to leave."""

    def __init__(self) -> None:
        self.ready: dict[Spot, int] = {}
        self.hopeless: set[tuple[Vector, tuple[str, ...], int, bool]] = set()
        self._units: dict[str, int] = {}
        self._ready: dict[str, int] = {}

    def add(self, claim: str, node: int, units: int, ready: bool) -> None:
        self._units[claim] = self.of(claim) + units
        if ready:
            self.ready[claim, node] = self.ready.get((claim, node), 0) + units
            self._ready[claim] = self.ready_of(claim) + units

    def of(self, claim: str) -> int:
        return self._units.get(claim, 0)

    def ready_of(self, claim: str) -> int:
        return self._ready.get(claim, 0)


def fair_share(snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
    """Grants and shrinks for now, without reasons, and the target of every claim."""
    held, rooms = held_units(snapshot), Rooms(snapshot.nodes)
    targets = Targets(snapshot, held, rooms.copy())
    board = Board(snapshot, held, rooms, targets.units)
    give_back(board)
    placement = Placement()
    for award in _deficits(targets, board):
        _place(board, placement, award)
    for place in board.places():
        while (missing := board.overdrawn(place)) and board.shrink_for(place, missing):
            pass
    _use_what_is_left(snapshot, board, placement)
    return Plan(grants=_grants(board, placement), shrinks=board.changes()), board.targets


def _deficits(targets: Targets, board: Board) -> Iterator[Award]:
    """What each award adds to what its claim holds, in the order of giving."""
    given = dict(board.targets)
    for claim, units, _ in targets.awards:
        given[claim] -= units
    for claim, units, together in targets.awards:
        before = max(board.held(claim), given[claim])
        given[claim] += units
        if given[claim] > before:
            yield Award(claim, given[claim] - before, together)


def _place(board: Board, placement: Placement, award: Award, only_now: bool = False) -> bool:
    """Find room for the units, from others where needed; together they have room all of them or none.

    What one claim did not get, no later one of the same shape and under the same limits does.
    """
    claim, units, together = award
    case = board.vectors[claim], board.limited[claim], units if together else 1, only_now
    if case in placement.hopeless:
        return False
    mark = board.mark()
    found: list[tuple[int, int, bool]] = []
    while units and (spot := _find(board, claim, units, only_now)) is not None:
        found.append(spot)
        units -= spot[1]
    if units:
        placement.hopeless.add(case)
        if together:
            board.back(mark)
            return False
    for node, count, ready in found:
        placement.add(claim, node, count, ready)
    return not units


def _find(board: Board, claim: str, units: int, only_now: bool) -> tuple[int, int, bool] | None:
    """Room on one node for some of the units: what is free now, else what is being freed, else where the
    fewest units have to go. Where, how many, and whether they can start now; the room is taken."""
    unit = board.vectors[claim]
    if board.limits_leave(claim) and (node := board.now.first(unit)) is not None:
        ready, count = True, board.fitting(claim, node)
    elif only_now:
        return None
    elif board.limits_leave(claim, later=True) and (node := board.room.first(unit)) is not None:
        ready, count = False, board.fitting(claim, node, later=True)
    elif (node := board.room_by_shrinking(claim)) is not None:
        ready, count = False, 1
    else:
        return None
    count = min(count, units)
    board.reserve(claim, node, count, ready)
    return node, count, ready


def _use_what_is_left(snapshot: Snapshot, board: Board, placement: Placement) -> None:
    """Nobody waits while room is free: what the targets leave over goes round once more in fair order."""
    claimants = _hopeful(board, placement)
    if not claimants:
        return
    tree = Tree(snapshot.principals, board.capacity)
    for claim, demand in board.demands.items():
        if held := board.held(claim) + placement.of(claim):
            tree.use_units(demand.principal, board.vectors[claim], held)
    queue = FairQueue(tree, claimants)
    while (claimant := queue.best()) is not None:
        demand, units = claimant.demand, claimant.step
        if _place(board, placement, Award(demand.claim, units, together=True), only_now=True):
            claimant.count += units
            tree.use_units(demand.principal, claimant.unit, units)
            claimant.step = 1
            if claimant.count < demand.max:
                queue.served(claimant)
            else:
                queue.done(claimant)
        else:
            queue.drop(claimant)


def _hopeful(board: Board, placement: Placement) -> list[Claimant]:
    """Who wants more, loses nothing, and has room for one unit now."""
    losing = {claim for (claim, _), units in board.lost.items() if units}
    found = []
    for claim, demand in board.demands.items():
        if board.now.first(board.vectors[claim]) is None or not board.limits_leave(claim):
            continue
        held = board.held(claim) + placement.of(claim)
        if held < demand.max and claim not in losing:
            found.append(Claimant(demand, held, held, step=max(1, starting_units(demand) - held)))
    return found


def _grants(board: Board, placement: Placement) -> tuple[Change, ...]:
    """The units that can start now; a claim starts with its minimum or not at all."""
    names = board.now.names
    return tuple(
        Change(claim, names[node], units)
        for (claim, node), units in sorted(placement.ready.items())
        if board.held(claim) or placement.ready_of(claim) >= starting_units(board.demands[claim])
    )
