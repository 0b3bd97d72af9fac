"""The room there is now, the room that shrinking makes later, and whom to shrink for it.

Two things can be short: a node's capacity and a principal's limit. Both are *places* with room, and a held
unit takes room in its node and in every limited principal above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aios_lab.allocation.shares import Tree, held_units, total_capacity, weighted_share
from aios_lab.allocation.targets import kept_units, starting_units
from aios_lab.allocation.types import Change, Demand, Resources, Snapshot


def node_place(name: str) -> str:
    return f"node:{name}"


def limit_place(name: str) -> str:
    return f"limit:{name}"


def smaller(a: Resources, b: Resources) -> Resources:
    return Resources(
        min(a.cpu, b.cpu), min(a.memory, b.memory), min(a.gpu, b.gpu), min(a.gpu_memory, b.gpu_memory)
    )


def short_of(need: Resources, have: Resources) -> tuple[str, ...]:
    """The resources of which not enough is there; what is not needed may well be overdrawn."""
    return tuple(
        name
        for (name, amount), (_, there) in zip(need.items(), have.items(), strict=True)
        if amount > max(0, there)
    )


@dataclass
class Board:
    """Mutable state of one decision; ``copy`` it to try something."""

    demands: Mapping[str, Demand]
    targets: Mapping[str, int]
    capacity: Resources
    limited: Mapping[str, tuple[str, ...]]
    now: dict[str, Resources]
    later: dict[str, Resources]
    units: dict[str, dict[str, int]]
    lost: dict[tuple[str, str], int] = field(default_factory=dict)

    def copy(self) -> Board:
        return Board(
            self.demands,
            self.targets,
            self.capacity,
            self.limited,
            dict(self.now),
            dict(self.later),
            {claim: dict(nodes) for claim, nodes in self.units.items()},
            dict(self.lost),
        )

    def become(self, other: Board) -> None:
        self.now, self.later, self.units, self.lost = other.now, other.later, other.units, other.lost

    def held(self, claim: str) -> int:
        return sum(self.units.get(claim, {}).values())

    def places(self, claim: str, node: str) -> tuple[str, ...]:
        return (node_place(node), *self.limited[claim])

    def room(self, place: str) -> Resources:
        return self.now[place] + self.later[place]

    def fits_now(self, claim: str, node: str) -> bool:
        unit = self.demands[claim].unit
        return not any(short_of(unit, self.now[place]) for place in self.places(claim, node))

    def short(self, claim: str, node: str) -> list[str]:
        """The places that lack room for one more unit even when all shrinks so far are done."""
        unit = self.demands[claim].unit
        return [place for place in self.places(claim, node) if short_of(unit, self.room(place))]

    def reserve(self, claim: str, node: str, ready: bool) -> None:
        """Take room for a unit: what is free when it can start now, else first what shrinking frees."""
        unit = self.demands[claim].unit
        for place in self.places(claim, node):
            if ready:
                self.now[place] -= unit
                continue
            left = self.room(place) - unit
            self.now[place] = smaller(self.now[place], left)
            self.later[place] = left - self.now[place]

    def take_away(self, claim: str, node: str, units: int) -> None:
        amount = self.demands[claim].unit * units
        self.units[claim][node] -= units
        self.lost[claim, node] = self.lost.get((claim, node), 0) + units
        for place in self.places(claim, node):
            self.later[place] += amount

    def elastic(self, claim: str) -> int:
        """Units above target that may go one by one: the minimum stays."""
        return max(0, self.held(claim) - max(self.targets[claim], starting_units(self.demands[claim])))

    def releasable(self, claim: str) -> bool:
        """Whether the whole claim may go: its target is nothing and nothing of it must be kept."""
        held = self.held(claim)
        return held > 0 and self.targets[claim] == 0 and not kept_units(self.demands[claim], held)

    def changes(self) -> tuple[Change, ...]:
        return tuple(
            Change(claim, node, units) for (claim, node), units in sorted(self.lost.items()) if units
        )

    def make_room(self, claim: str, node: str) -> int | None:
        """Shrink others until a unit fits on the node; how many units went, or none if it cannot be."""
        unit = self.demands[claim].unit
        gone: list[Change] = []
        while places := self.short(claim, node):
            taken = self.shrink_for(places[0], short_of(unit, self.room(places[0])), node, spare=claim)
            if not taken:
                return None
            gone += taken
        return sum(change.units for change in gone) - self._put_back(claim, node, gone)

    def _put_back(self, claim: str, node: str, gone: list[Change]) -> int:
        """Undo the single shrinks that later ones made needless."""
        undone = 0
        for change in gone:
            if change.units == 1 and self.units[change.claim][change.node]:
                self.take_away(change.claim, change.node, -1)
                if self.short(claim, node):
                    self.take_away(change.claim, change.node, 1)
                else:
                    undone += 1
        return undone

    def shrink_for(
        self, place: str, missing: tuple[str, ...], node: str | None = None, spare: str = ""
    ) -> list[Change]:
        """Take one unit, or a whole claim where none can go alone, from whoever is furthest over target."""
        for pick in (self.elastic, self.releasable):
            victims = [c for c in self.units if c != spare and pick(c) and self._gives(c, place, missing)]
            if victims:
                gone = self._going(
                    min(victims, key=self._victim_order), place, node, whole=pick == self.releasable
                )
                for change in gone:
                    self.take_away(change.claim, change.node, change.units)
                return gone
        return []

    def _going(self, victim: str, place: str, node: str | None, whole: bool) -> list[Change]:
        held = {name: units for name, units in self.units[victim].items() if units}
        if whole:
            return [Change(victim, name, units) for name, units in held.items()]
        helping = [name for name in held if place in self.places(victim, name)]
        return [Change(victim, node if node is not None and node in helping else helping[-1], 1)]

    def _gives(self, claim: str, place: str, missing: tuple[str, ...]) -> bool:
        """Whether shrinking helps: the claim has units at the place, and they hold what is missing."""
        if not any(getattr(self.demands[claim].unit, resource) for resource in missing):
            return False
        return any(units and place in self.places(claim, node) for node, units in self.units[claim].items())

    def _victim_order(self, claim: str) -> tuple[float, float, str]:
        demand = self.demands[claim]
        over = demand.unit * (self.held(claim) - self.targets[claim])
        return (-weighted_share(over, self.capacity, 1), -demand.submitted, claim)


def set_up(snapshot: Snapshot, targets: Mapping[str, int]) -> Board:
    """The board as the snapshot shows it: what is free now, and nothing shrunk yet."""
    capacity = total_capacity(snapshot)
    tree = Tree(snapshot.principals, capacity)
    demands = {demand.claim: demand for demand in sorted(snapshot.demands, key=lambda d: d.claim)}
    limited = {claim: _limited(tree, demand.principal) for claim, demand in demands.items()}
    now = {node_place(node.name): node.capacity for node in sorted(snapshot.nodes, key=lambda n: n.name)}
    for places in limited.values():
        for place in places:
            limit = tree.principals[place.partition(":")[2]].limit
            now[place] = limit if limit is not None else Resources()
    units = {claim: dict(nodes) for claim, nodes in held_units(snapshot).items()}
    board = Board(demands, targets, capacity, limited, now, dict.fromkeys(now, Resources()), units)
    for claim, nodes in units.items():
        for node, count in nodes.items():
            for place in board.places(claim, node):
                board.now[place] -= demands[claim].unit * count
    return board


def _limited(tree: Tree, principal: str) -> tuple[str, ...]:
    return tuple(
        limit_place(name) for name in tree.path(principal) if tree.principals[name].limit is not None
    )


def give_back(board: Board, claims: Iterable[str]) -> None:
    """Take at once what claims hold above their own maximum: their owners asked for less."""
    for claim in claims:
        demand = board.demands[claim]
        ceiling = max(demand.max, min(demand.floor, board.held(claim)))
        for node in sorted(board.units.get(claim, {}), reverse=True):
            over = min(board.held(claim) - ceiling, board.units[claim][node])
            if over > 0:
                board.take_away(claim, node, over)
