"""The rules before nodes whose resources are only known in total."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from aios_lab.allocation.placement.fragmentation import Workload
from aios_lab.allocation.placement.machines import Machine, Task
from aios_lab.allocation.placement.ranking import Option, Ranking
from aios_lab.allocation.placement.rules import DEFAULT_PLACEMENT, RULES, Rule
from aios_lab.allocation.room import Rooms, fits
from aios_lab.allocation.types import Node, Placement, Resources, Vector

FIRST = Placement(DEFAULT_PLACEMENT)
# Rooms whose cost is kept at hand.
KEPT = 100_000


def rooms_for(nodes: Iterable[Node], placement: Placement) -> Rooms:
    """The room of these nodes when empty, searched as the placement says.

    Raises:
        ValueError: there is no such placement.
    """
    if placement.rule not in RULES:
        raise ValueError(f"There is no placement {placement.rule!r}; there are: {', '.join(RULES)}.")
    if placement.rule == DEFAULT_PLACEMENT:
        return Rooms(nodes)
    nodes = tuple(nodes)
    machines = [Machine.of(node.capacity) for node in nodes]
    return RankedRooms(nodes, RULES[placement.rule](machines, _workload(placement.expected)))


@lru_cache(maxsize=8)
def _workload(expected: tuple[tuple[Resources, int], ...]) -> Workload:
    """Kept with the fragments that it has counted; those who decide again and again expect the same."""
    return Workload.of(expected)


class RankedRooms(Rooms):
    """Room by node, from which a rule picks. A unit that totals have room for, but by the rule's count no
    devices, goes there last."""

    def __init__(self, nodes: Iterable[Node], rule: Rule) -> None:
        super().__init__(nodes)
        self._rule = rule
        # Shared by copies: many nodes have the same room.
        self._options: dict[tuple[Vector, Vector], Option] = {}
        self._ranking: Ranking[Vector] = Ranking(len(self.free), self._option)

    def copy(self) -> Rooms:
        other = super().copy()
        assert isinstance(other, RankedRooms)
        other._ranking = Ranking(len(other.free), other._option)
        return other

    def take(self, node: int, unit: Vector, units: int = 1) -> None:
        super().take(node, unit, units)
        self._ranking.changed(node)

    def cut(self, node: int, most: Vector) -> None:
        super().cut(node, most)
        self._ranking.changed(node)

    def put(self, node: int, room: Vector) -> None:
        super().put(node, room)
        self._ranking.changed(node)

    def pick(self, unit: Vector) -> int | None:
        found = self._ranking.best(unit)
        return None if found is None else found[0]

    def order(self, unit: Vector) -> Iterator[int]:
        return self._ranking.order(unit)

    def _option(self, node: int, unit: Vector) -> Option | None:
        free = self.free[node]
        if not fits(unit, free):
            return None
        if (known := self._options.get((unit, free))) is None:
            if len(self._options) >= KEPT:
                self._options.clear()
            best = self._rule.best(Machine.of(free), Task.of(unit))
            known = self._options[unit, free] = ((1,), ()) if best is None else ((0, *best[0]), ())
        return known
