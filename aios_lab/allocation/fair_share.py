"""The default policy: hierarchical weighted DRF, minimum first, then growth.

Targets come from ``targets``; this module turns them into what to do now. Nothing migrates: a claim keeps its
units where they are, and those above target go only when somebody below target needs the room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aios_lab.allocation.board import Board, give_back
from aios_lab.allocation.placement.rooms import rooms_for
from aios_lab.allocation.reclaim import Reclaim
from aios_lab.allocation.room import Rooms
from aios_lab.allocation.shares import Claimant, FairQueue, Held, Tree, held_units
from aios_lab.allocation.targets import Award, Targets, starting_units
from aios_lab.allocation.types import Change, Plan, Snapshot, Vector

Spots = list[tuple[int, int]]  # nodes, and how many units on each


class Placed:
    """Units of claims on nodes: those that start now, and those that wait for others to leave."""

    def __init__(self) -> None:
        self.ready: dict[str, dict[int, int]] = {}
        self.hopeless: set[tuple[Vector, tuple[str, ...], int, bool]] = set()
        self._units: dict[str, int] = {}

    def add(self, claim: str, ready: Spots, later: Spots) -> None:
        if ready:
            nodes = self.ready.setdefault(claim, {})
            for node, units in ready:
                nodes[node] = nodes.get(node, 0) + units
        self._units[claim] = self.of(claim) + sum(units for _, units in ready + later)

    def of(self, claim: str) -> int:
        return self._units.get(claim, 0)


def fair_share(snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
    """Grants and shrinks for now, without reasons, and the target of every claim."""
    return towards(snapshot, Targets)


def towards(
    snapshot: Snapshot, goals: Callable[[Snapshot, Held, Rooms], Targets]
) -> tuple[Plan, Mapping[str, int]]:
    """Grants and shrinks that bring everybody nearer to targets, without reasons, and these targets."""
    held, rooms = held_units(snapshot), rooms_for(snapshot.nodes, snapshot.placement)
    targets = goals(snapshot, held, rooms.copy())
    return carried_out(snapshot, targets, held, rooms), targets.units


def carried_out(snapshot: Snapshot, targets: Targets, held: Held, rooms: Rooms) -> Plan:
    """The grants and shrinks that bring everybody nearer to the targets now; ``rooms``: the empty nodes."""
    board = Board(snapshot, held, rooms, targets.units)
    give_back(board)
    reclaim = Reclaim(board)
    placed = Placed()
    for award in _deficits(targets, board):
        _place(board, placed, award, reclaim)
    for place in board.places():
        while (lacking := board.overdrawn(place)) and reclaim.shrink_for(place, lacking):
            pass
    _use_what_is_left(snapshot, board, placed)
    board.settle()
    return Plan(grants=_grants(board, placed), shrinks=board.changes())


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


def _place(board: Board, placed: Placed, award: Award, reclaim: Reclaim | None = None) -> bool:
    """Find room for the units: what is free now, and with ``reclaim`` what is being freed, or what others
    have to give back. Together they have room all of them or none.

    What one claim did not get, no later one of the same shape and under the same limits does.
    """
    claim, units, together = award
    case = board.vectors[claim], board.limited[claim], units if together else 1, reclaim is None
    if case in placed.hopeless:
        return False
    mark, left = board.mark(), units
    ready = board.take(claim, left)
    later: Spots = []
    left -= sum(count for _, count in ready)
    while left and reclaim is not None:
        spots = board.take(claim, left, later=True)
        if not spots and not reclaim.make_room(claim):
            break
        left -= sum(count for _, count in spots)
        later += spots
    if left:
        placed.hopeless.add(case)
        if together:
            board.back(mark)
            return False
    board.settle()
    placed.add(claim, ready, later)
    return not left


def _use_what_is_left(snapshot: Snapshot, board: Board, placed: Placed) -> None:
    """Nobody waits while room is free: what the targets leave over goes round once more in fair order."""
    claimants = _hopeful(board, placed)
    if not claimants:
        return
    tree = Tree(snapshot.principals, board.capacity)
    for claim, demand in board.demands.items():
        if held := board.held(claim) + placed.of(claim):
            tree.use_units(demand.principal, board.vectors[claim], held)
    queue = FairQueue(tree, claimants)
    while (claimant := queue.best()) is not None:
        demand, units = claimant.demand, claimant.step
        if _place(board, placed, Award(demand.claim, units, together=True)):
            claimant.count += units
            tree.use_units(demand.principal, claimant.unit, units)
            claimant.step = 1
            if claimant.count < demand.max:
                queue.served(claimant)
            else:
                queue.done(claimant)
        else:
            queue.drop(claimant)


def _hopeful(board: Board, placed: Placed) -> list[Claimant]:
    """Who wants more, loses nothing, and has room for one unit now."""
    losing = {claim for (claim, _), units in board.lost.items() if units}
    found = []
    for claim, demand in board.demands.items():
        if not board.fits_now(claim):
            continue
        held = board.held(claim) + placed.of(claim)
        if held < demand.max and claim not in losing:
            found.append(Claimant(demand, held, held, step=max(1, starting_units(demand) - held)))
    return found


def _grants(board: Board, placed: Placed) -> tuple[Change, ...]:
    """The units that can start now; a claim starts with its minimum or not at all."""
    names, grants = board.now.names, []
    for claim, nodes in sorted(placed.ready.items()):
        if board.held(claim) or sum(nodes.values()) >= starting_units(board.demands[claim]):
            grants += [Change(claim, names[node], units) for node, units in sorted(nodes.items())]
    return tuple(grants)
