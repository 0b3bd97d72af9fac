"""The default policy: hierarchical weighted DRF, minimum first, then growth.

Targets come from ``targets``; this module turns them into what to do now. Nothing migrates: a claim keeps its
units where they are, and those above target go only when somebody below target needs the room.
"""

from __future__ import annotations

from collections.abc import Mapping

from aios_lab.allocation.board import Board, give_back
from aios_lab.allocation.preemption import with_guard
from aios_lab.allocation.shares import Claimant, FairQueue, Tree
from aios_lab.allocation.standing import Past
from aios_lab.allocation.targets import Targets, starting_units
from aios_lab.allocation.types import Change, Plan, Snapshot, Vector

Spot = tuple[str, int]  # a claim and a node


class Placement:
    """Units of claims on nodes: those that start now, and those that wait for others to leave."""

    def __init__(self) -> None:
        self.ready: dict[Spot, int] = {}
        self.hopeless: set[tuple[Vector, tuple[str, ...], int, bool]] = set()
        self._units: dict[str, int] = {}
        self._ready: dict[str, int] = {}

    def add(self, claim: str, node: int, ready: bool) -> None:
        self._units[claim] = self.of(claim) + 1
        if ready:
            self.ready[claim, node] = self.ready.get((claim, node), 0) + 1
            self._ready[claim] = self.ready_of(claim) + 1

    def of(self, claim: str) -> int:
        return self._units.get(claim, 0)

    def ready_of(self, claim: str) -> int:
        return self._ready.get(claim, 0)


def fair_share(snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
    """Grants and shrinks for now, without reasons, and the target of every claim."""
    snapshot = with_guard(snapshot)
    targets = Targets(snapshot)
    board = Board(snapshot, targets.units)
    give_back(board)
    placement = Placement()
    for claim, units in _deficits(targets, board):
        _place(board, placement, claim, units)
    for place in board.places():
        while (missing := board.overdrawn(place)) and board.shrink_for(place, missing):
            pass
    _use_what_is_left(snapshot, board, placement)
    return Plan(grants=_grants(board, placement), shrinks=board.changes()), board.targets


def _deficits(targets: Targets, board: Board) -> list[tuple[str, int]]:
    """What each award adds to what its claim holds, in the order of giving."""
    given = dict(board.targets)
    for claim, units in targets.awards:
        given[claim] -= units
    deficits = []
    for claim, units in targets.awards:
        before = max(board.held(claim), given[claim])
        given[claim] += units
        if given[claim] > before:
            deficits.append((claim, given[claim] - before))
    return deficits


def _place(board: Board, placement: Placement, claim: str, units: int, only_now: bool = False) -> bool:
    """Find room for all of the units, from others where needed; without room for all, nothing is taken.

    What one claim did not get, no later one of the same shape and under the same limits does.
    """
    case = board.vectors[claim], board.limited[claim], units, only_now
    if case in placement.hopeless:
        return False
    mark = board.mark()
    found: list[tuple[int, bool]] = []
    for _ in range(units):
        spot = _place_one(board, claim, only_now)
        if spot is None:
            board.back(mark)
            placement.hopeless.add(case)
            return False
        found.append(spot)
    for node, ready in found:
        placement.add(claim, node, ready)
    return True


def _place_one(board: Board, claim: str, only_now: bool) -> tuple[int, bool] | None:
    """Room that is free now, else room that is being freed, else where the fewest units have to go."""
    unit = board.vectors[claim]
    node = board.now.first(unit) if board.limits_leave(claim) else None
    if node is not None:
        board.reserve(claim, node, ready=True)
        return node, True
    if only_now:
        return None
    node = board.room.first(unit) if board.limits_leave(claim, later=True) else None
    if node is None:
        node = board.room_by_shrinking(claim)
    if node is None:
        return None
    board.reserve(claim, node, ready=False)
    return node, False


def _use_what_is_left(snapshot: Snapshot, board: Board, placement: Placement) -> None:
    """Nobody waits while room is free: what the targets leave over goes round once more in fair order."""
    tree = Tree(snapshot.principals, board.capacity)
    claimants = []
    losing = {claim for (claim, _), units in board.lost.items() if units}
    for claim, demand in board.demands.items():
        held = board.held(claim) + placement.of(claim)
        if held:
            tree.use_units(demand.principal, board.vectors[claim], held)
        if claim not in losing and held < demand.max:
            claimants.append(Claimant(demand, held, held))
    queue = FairQueue(tree, claimants, Past(snapshot, board.capacity.vector).keys(tree))
    while (claimant := queue.best()) is not None:
        demand = claimant.demand
        units = max(1, starting_units(demand) - claimant.count)
        if claimant.count >= demand.max or not _place(board, placement, demand.claim, units, only_now=True):
            queue.drop(claimant)
            continue
        claimant.count += units
        tree.use_units(demand.principal, claimant.unit, units)
        queue.served(claimant)


def _grants(board: Board, placement: Placement) -> tuple[Change, ...]:
    """The units that can start now; a claim starts with its minimum or not at all."""
    names = board.now.names
    return tuple(
        Change(claim, names[node], units)
        for (claim, node), units in sorted(placement.ready.items())
        if board.held(claim) or placement.ready_of(claim) >= starting_units(board.demands[claim])
    )
