"""Free room on many nodes, and the first of them by name where a unit still fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy

from aios_lab.allocation.types import Node, Vector

# A node's number, a unit, and how many of it.
Taken = tuple[int, Vector, int]

REMEMBERED = 10_000  # nodes that grew; then searches begin anew
NOWHERE = 0, 0  # before the first node it fits nowhere
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
    the blocks where nothing can fit: O(nodes / BLOCK + BLOCK) where the bounds are tight. A search for the
    same unit goes on where the last one found some, or on a node that got room since."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        inventory = sorted((node.name, node.capacity.vector) for node in nodes)
        self.names = [name for name, _ in inventory]
        self.index = {name: place for place, name in enumerate(self.names)}
        self.free = [room for _, room in inventory]
        self._grown: list[int] = []  # nodes that were given room, in turn
        # By unit, a node before which it fits nowhere but on nodes that grew after so many had.
        self._full_before: dict[Vector, tuple[int, int]] = {}
        self._bounds = self._all_bounds()

    def copy(self) -> Rooms:
        """The same nodes with the room they have now."""
        other = copy(self)
        other.free, other._bounds = [*self.free], [*self._bounds]
        other._grown, other._full_before = [], {}
        return other

    def total(self) -> Vector:
        """What is free on all nodes together; an overdrawn one has nothing."""
        cpu, memory, gpu, gpu_memory = (
            sum(column) if min(column) >= 0 else sum(amount for amount in column if amount > 0)
            for column in (zip(*self.free, strict=True) if self.free else [(0,)] * 4)
        )
        return cpu, memory, gpu, gpu_memory

    def without(self, taken: Iterable[Taken]) -> Rooms:
        """The same nodes with less room."""
        other, touched = self.copy(), False
        free = other.free
        for node, unit, units in taken:
            free[node] = plus(free[node], unit, -units)
            touched = True
        if touched:
            other._bounds = other._all_bounds()
        return other

    def take(self, node: int, unit: Vector, units: int = 1) -> None:
        """Take room for so many units; ``put`` gives room back."""
        cpu, memory, gpu, gpu_memory = unit
        room = self.free[node]
        self.free[node] = (
            room[0] - cpu * units,
            room[1] - memory * units,
            room[2] - gpu * units,
            room[3] - gpu_memory * units,
        )

    def cut(self, node: int, most: Vector) -> None:
        """Leave no more than this."""
        self.free[node] = smaller(self.free[node], most)

    def put(self, node: int, room: Vector) -> None:
        """Set room that may be more than there was."""
        self.free[node] = room
        self._grown.append(node)
        if len(self._grown) > REMEMBERED:
            self._grown, self._full_before = [], {}
        block = node // BLOCK
        bound = self._bounds[block]
        if room[0] > bound[0] or room[1] > bound[1] or room[2] > bound[2] or room[3] > bound[3]:
            self._bounds[block] = larger(bound, room)

    def first(self, unit: Vector, start: int = 0) -> int | None:
        """The first node from ``start`` on where one unit fits; None where there is none."""
        free, grown = self.free, self._grown
        node, seen = self._full_before.get(unit, NOWHERE)
        if start <= node < len(free) and seen == len(grown) and fits(unit, free[node]):
            return node
        if seen < len(grown):
            node = min((one for one in grown[seen:] if one < node and fits(unit, free[one])), default=node)
        if node < len(free) and not fits(unit, free[node]):
            found = self._search(unit, node)
            node = len(free) if found is None else found
        self._full_before[unit] = node, len(grown)
        if start > node:
            return self._search(unit, start)
        return node if node < len(free) else None

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

    def _all_bounds(self) -> list[Vector]:
        return [self._bound(block) for block in range(-(-len(self.free) // BLOCK))]

    def _bound(self, block: int) -> Vector:
        cpu, memory, gpu, gpu_memory = zip(*self.free[block * BLOCK : (block + 1) * BLOCK], strict=True)
        return max(cpu), max(memory), max(gpu), max(gpu_memory)
