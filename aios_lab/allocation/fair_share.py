"""The default policy: hierarchical weighted DRF, minimum first, then growth.

Targets come from ``targets``; this module turns them into what to do now. Nothing migrates: a claim keeps its
units where they are, and those above target go only when somebody below target needs the room.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aios_lab.allocation.board import Board, give_back, set_up
from aios_lab.allocation.shares import Claimant, FairQueue, Tree
from aios_lab.allocation.targets import Targets, starting_units
from aios_lab.allocation.types import Change, Plan, Snapshot


@dataclass
class Placement:
    """Units of claims on nodes: those that start now, and those that wait for others to leave."""

    ready: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, claim: str, node: str, ready: bool) -> None:
        units = self.ready if ready else self.waiting
        units[claim, node] = units.get((claim, node), 0) + 1

    def of(self, claim: str) -> int:
        return sum(n for (name, _), n in (*self.ready.items(), *self.waiting.items()) if name == claim)

    def ready_of(self, claim: str) -> int:
        return sum(n for (name, _), n in self.ready.items() if name == claim)


def fair_share(snapshot: Snapshot) -> Plan:
    """Grants and shrinks for now, without reasons."""
    targets = Targets(snapshot)
    board = set_up(snapshot, targets.units)
    nodes = [node.name for node in sorted(snapshot.nodes, key=lambda n: n.name)]
    give_back(board, sorted(board.units))
    placement = Placement()
    for claim, units in _deficits(targets, board):
        _place(board, placement, claim, units, nodes)
    _respect_limits(board)
    _use_what_is_left(snapshot, board, placement, nodes)
    return Plan(grants=_grants(board, placement), shrinks=board.changes())


def _deficits(targets: Targets, board: Board) -> list[tuple[str, int]]:
    """What each award adds to what its claim holds, in the order of giving."""
    given = {claim: board.targets[claim] for claim in board.targets}
    for claim, units in targets.awards:
        given[claim] -= units
    deficits = []
    for claim, units in targets.awards:
        before = max(board.held(claim), given[claim])
        given[claim] += units
        if given[claim] > before:
            deficits.append((claim, given[claim] - before))
    return deficits


def _place(board: Board, placement: Placement, claim: str, units: int, nodes: list[str]) -> bool:
    """Find room for all of the units, from others where needed; without room for all, nothing is taken."""
    trial = board.copy()
    found: list[tuple[str, bool]] = []
    for _ in range(units):
        spot = _place_one(trial, claim, nodes)
        if spot is None:
            return False
        found.append(spot)
    board.become(trial)
    for node, ready in found:
        placement.add(claim, node, ready)
    return True


def _place_one(board: Board, claim: str, nodes: list[str]) -> tuple[str, bool] | None:
    """Room that is free now, else room that is being freed, else where the fewest units have to go."""
    for node in nodes:
        if board.fits_now(claim, node):
            board.reserve(claim, node, ready=True)
            return node, True
    best: tuple[int, str, Board] | None = None
    for node in nodes:
        trial = board.copy()
        gone = trial.make_room(claim, node)
        if gone is not None and (best is None or gone < best[0]):
            best = (gone, node, trial)
    if best is None:
        return None
    board.become(best[2])
    board.reserve(claim, best[1], ready=False)
    return best[1], False


def _respect_limits(board: Board) -> None:
    """Shrink below principals whose limit was lowered under what they hold."""
    for place in sorted(board.now):
        while overdrawn := tuple(name for name, amount in board.room(place).items() if amount < 0):
            if not board.shrink_for(place, overdrawn):
                break


def _use_what_is_left(snapshot: Snapshot, board: Board, placement: Placement, nodes: list[str]) -> None:
    """Nobody waits while room is free: what the targets leave over goes round once more in fair order."""
    tree = Tree(snapshot.principals, board.capacity)
    claimants = []
    losing = {claim for claim, _ in board.lost}
    for claim, demand in board.demands.items():
        held = board.held(claim) + placement.of(claim)
        tree.use(demand.principal, demand.unit * held)
        if claim not in losing and held < demand.max:
            claimants.append(Claimant(demand, held, held))
    queue = FairQueue(tree, claimants)
    while (claimant := queue.best()) is not None:
        demand = claimant.demand
        units = max(1, starting_units(demand) - claimant.count)
        if claimant.count >= demand.max or not _place_free(board, placement, demand.claim, units, nodes):
            queue.drop(claimant)
            continue
        claimant.count += units
        tree.use(demand.principal, demand.unit * units)
        queue.served(claimant)


def _place_free(board: Board, placement: Placement, claim: str, units: int, nodes: list[str]) -> bool:
    """As ``_place``, but only in room that is free now."""
    trial = board.copy()
    found = []
    for _ in range(units):
        node = next((name for name in nodes if trial.fits_now(claim, name)), None)
        if node is None:
            return False
        trial.reserve(claim, node, ready=True)
        found.append(node)
    board.become(trial)
    for node in found:
        placement.add(claim, node, ready=True)
    return True


def _grants(board: Board, placement: Placement) -> tuple[Change, ...]:
    """The units that can start now; a claim starts with its minimum or not at all."""
    return tuple(
        Change(claim, node, units)
        for (claim, node), units in sorted(placement.ready.items())
        if board.held(claim) or placement.ready_of(claim) >= starting_units(board.demands[claim])
    )
