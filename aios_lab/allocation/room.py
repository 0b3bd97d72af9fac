"""Free room on many nodes, and the first of them by name where a unit still fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy

from aios_lab.allocation.types import Node, Vector

BLOCK = 32  # nodes under one bound
NOTHING: Vector = (0, 0, 0, 0)
ENDLESS = 1_000_000_000  # how often a unit fits that needs nothing


def fits(need: Vector, have: Vector) -> bool:
    """Whether the room is enough; what is not needed may well be overdrawn."""
    cpu, memory, gpu, gpu_memory = need
    return (
        (cpu <= have[0] or not cpu)
        and (memory <= have[1] or not memory)
        and (gpu <= have[2] or not gpu)
        and (gpu_memory <= have[3] or not gpu_memory)
    )


def plus(a: Vector, b: Vector, times: int = 1) -> Vector:
    return a[0] + b[0] * times, a[1] + b[1] * times, a[2] + b[2] * times, a[3] + b[3] * times


def how_many(unit: Vector, free: Vector) -> int:
    """How many units fit; a unit that needs nothing fits without end (a billion times)."""
    count = ENDLESS
    for need, have in zip(unit, free, strict=True):
        if need and have < count * need:
            count = have // need if have > 0 else 0
    return count


def smaller(a: Vector, b: Vector) -> Vector:
    return min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def larger(a: Vector, b: Vector) -> Vector:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


class Rooms:
    """Room by node. Every block of nodes has a bound that no node in it exceeds, so that a search leaves out
    the blocks where nothing can fit: O(nodes / BLOCK + BLOCK) where the bounds are tight. While room only
    gets less, a search for the same unit goes on where the last one found some."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        inventory = sorted((node.name, node.capacity.vector) for node in nodes)
        self.names = [name for name, _ in inventory]
        self.index = {name: place for place, name in enumerate(self.names)}
        self.free = [room for _, room in inventory]
        self._full_before: dict[Vector, int] = {}  # by unit, a node before which it fits nowhere
        self._bounds = [self._bound(block) for block in range(-(-len(self.free) // BLOCK))]

    def copy(self) -> Rooms:
        """The same nodes with the room they have now."""
        other = copy(self)
        other.free, other._bounds, other._full_before = [*self.free], [*self._bounds], {}
        return other

    def take(self, node: int, unit: Vector, units: int = 1) -> None:
        """Take room for so many units; ``put`` gives room back."""
        self.free[node] = plus(self.free[node], unit, -units)

    def cut(self, node: int, most: Vector) -> None:
        """Leave no more than this."""
        self.free[node] = smaller(self.free[node], most)

    def put(self, node: int, room: Vector) -> None:
        """Set room that may be more than there was."""
        self.free[node] = room
        self._full_before.clear()
        block = node // BLOCK
        self._bounds[block] = larger(self._bounds[block], room)

    def first(self, unit: Vector, start: int = 0) -> int | None:
        """The first node from ``start`` on where one unit fits; None where there is none."""
        full_before = self._full_before.get(unit, 0)
        if start > full_before:
            return self._search(unit, start)
        if full_before < len(self.free) and fits(unit, self.free[full_before]):
            return full_before
        found = self._search(unit, full_before)
        self._full_before[unit] = len(self.free) if found is None else found
        return found

    def pick(self, unit: Vector) -> int | None:
        """The node where the next unit goes; None where it fits nowhere."""
        return self.first(unit)

    def order(self, unit: Vector) -> Iterator[int]:
        """All nodes where one unit fits, the one where it goes first; no room is to change meanwhile."""
        node = self.first(unit)
        while node is not None:
            yield node
            node = self.first(unit, node + 1)

    def _search(self, unit: Vector, start: int) -> int | None:
        free, size = self.free, len(self.free)
        for block in range(start // BLOCK, len(self._bounds)):
            if not fits(unit, self._bounds[block]):
                continue
            for node in range(max(start, block * BLOCK), min(size, (block + 1) * BLOCK)):
                if fits(unit, free[node]):
                    return node
            self._bounds[block] = self._bound(block)
        return None

    def _bound(self, block: int) -> Vector:
        cpu, memory, gpu, gpu_memory = zip(*self.free[block * BLOCK : (block + 1) * BLOCK], strict=True)
        return max(cpu), max(memory), max(gpu), max(gpu_memory)
