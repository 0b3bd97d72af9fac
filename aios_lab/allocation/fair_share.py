"""The default policy: hierarchical weighted DRF, minimum first, then growth.

Targets come from ``targets``; this module turns them into what to do now. Nothing migrates: a claim keeps its
units where they are, and those above target go only when somebody below target needs the room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aios_lab.allocation.board import Board, give_back
from aios_lab.allocation.placement.rooms import rooms_for
from aios_lab.allocation.plenty import Spots
from aios_lab.allocation.preemption import with_guard
from aios_lab.allocation.reclaim import Reclaim
from aios_lab.allocation.room import Rooms
from aios_lab.allocation.shares import Claimant, FairQueue, Held, held_units
from aios_lab.allocation.targets import Award, Targets, starting_units
from aios_lab.allocation.types import Change, Plan, Snapshot, Vector

# What computes the targets of a snapshot, given the units that are held and the empty nodes.
Goals = Callable[[Snapshot, Held, Rooms], Targets]


class Placed:
    """Units of claims on nodes: those that start now, and those that wait for others to leave."""

    def __init__(self) -> None:
        self.ready: dict[str, dict[int, int]] = {}
        self.hopeless: set[tuple[Vector, tuple[str, ...], int, bool]] = set()
        self._units: dict[str, int] = {}

    def add(self, claim: str, units: int, ready: Spots) -> None:
        """So many units have room, those that are ``ready`` now."""
        if ready:
            nodes = self.ready.setdefault(claim, {})
            for node, count in ready:
                nodes[node] = nodes.get(node, 0) + count
        self._units[claim] = self.of(claim) + units

    def of(self, claim: str) -> int:
        return self._units.get(claim, 0)


def fair_share(snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
    """Grants and shrinks for now, without reasons, and the target of every claim."""
    targets = fair_targets(snapshot)
    return carried_out(targets), targets.units


def fair_targets(snapshot: Snapshot, goals: Goals = Targets) -> Targets:
    """How many units everybody should have, as fair share or other ``goals`` have it."""
    return goals(with_guard(snapshot), held_units(snapshot), rooms_for(snapshot.nodes, snapshot.placement))


def carried_out(targets: Targets) -> Plan:
    """The grants and shrinks that bring everybody nearer to the targets now."""
    board = Board(targets.tree, targets.claimants, targets.held, targets.now.copy(), targets.in_place)
    give_back(board)
    reclaim = Reclaim(board)
    placed = Placed()
    for claim, spots in targets.ready.items():
        units = board.targets[claim] - board.held(claim)
        board.charge(claim, units)
        placed.add(claim, units, spots)
    for award in _deficits(targets, board):
        _place(board, placed, award, reclaim)
    for place in board.overdrawn_places():
        while (lacking := board.overdrawn(place)) and reclaim.shrink_for(place, lacking):
            pass
    _use_what_is_left(targets, board, placed)
    board.settle()
    return Plan(grants=_grants(board, placed), shrinks=board.changes())


def _deficits(targets: Targets, board: Board) -> Iterator[Award]:
    """What each award adds to what its claim holds, in the order of giving."""
    holds, lacking = board.holds, {c.demand.claim for c in targets.claimants if c.held < c.count}
    given = dict(targets.kept)
    for award in targets.awards:
        claim, units, together = award
        if claim in lacking:
            before = given.get(claim, 0)
            given[claim] = before + units
            more = before + units - max(before, holds[claim])
            if more > 0:
                yield award if more == units else Award(claim, more, together)


def _place(board: Board, placed: Placed, award: Award, reclaim: Reclaim | None = None) -> bool:
    """Find room for the units: what is free now, and with ``reclaim`` what is being freed, or what others
    have to give back. Together they have room all of them or none.

    What one claim did not get, no later one of the same shape and under the same limits does.
    """
    claim, units, together = award
    case = board.vectors[claim], board.limited[claim], units if together else 1, reclaim is None
    if case in placed.hopeless:
        return False
    mark = board.mark()
    ready = board.take(claim, units)
    left = units - sum(count for _, count in ready)
    while left and reclaim is not None:
        spots = board.take(claim, left, later=True)
        if not spots and not reclaim.make_room(claim):
            break
        left -= sum(count for _, count in spots)
    if left:
        placed.hopeless.add(case)
        if together:
            board.back(mark)
            return False
    board.settle()
    placed.add(claim, units - left, ready)
    return not left


def _use_what_is_left(targets: Targets, board: Board, placed: Placed) -> None:
    """Nobody waits while room is free: what the targets leave over goes round once more in fair order."""
    claimants = _hopeful(board, placed)
    if not claimants:
        return
    tree = targets.tree.unused()
    for (principal, unit), units in _used(board, placed).items():
        tree.use_units(principal, unit, units)
    queue = FairQueue(tree, claimants, targets.past.keys(tree))
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


def _used(board: Board, placed: Placed) -> Mapping[tuple[str, Vector], int]:
    """Units that are held or placed, by principal and shape."""
    used: dict[tuple[str, Vector], int] = {}
    for claim, held in board.holds.items():
        if units := held + placed.of(claim):
            case = board.demands[claim].principal, board.vectors[claim]
            used[case] = used.get(case, 0) + units
    return used


def _hopeful(board: Board, placed: Placed) -> list[Claimant]:
    """Who wants more, loses nothing, and has room for one unit now."""
    losing = {claim for (claim, _), units in board.lost.items() if units}
    fitting = {unit for unit in set(board.vectors.values()) if board.now.first(unit) is not None}
    found = []
    for claim, demand in board.demands.items():
        if board.vectors[claim] not in fitting or claim in losing:
            continue
        held = board.held(claim) + placed.of(claim)
        if held < demand.max and board.within_limits(claim):
            step = max(1, starting_units(demand) - held)
            found.append(Claimant(demand, held, board.vectors[claim], held, step=step))
    return found


def _grants(board: Board, placed: Placed) -> tuple[Change, ...]:
    """The units that can start now; a claim starts with its minimum or not at all."""
    names, grants = board.now.names, []
    for claim in sorted(placed.ready):
        nodes = placed.ready[claim]
        if board.held(claim) or sum(nodes.values()) >= starting_units(board.demands[claim]):
            for node in sorted(nodes) if len(nodes) > 1 else nodes:
                grants.append(Change(claim, names[node], nodes[node]))
    return tuple(grants)
