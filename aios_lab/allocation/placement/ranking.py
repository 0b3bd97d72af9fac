"""Numbered places, with the cheapest one for each kind of thing kept at hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# What a place costs, smallest first: places of equal cost are taken by their numbers.
Cost = tuple[int, ...]
Devices = tuple[int, ...]
# A cost, and which devices of the place it is for.
Option = tuple[Cost, Devices]
K = TypeVar("K")
# Entries a place, most of them old, after which they are cleared away.
MOST_OLD = 4


@dataclass(slots=True)
class _Kind:
    """Places by their cost for one kind; entries of places that changed since are passed over."""

    heap: list[tuple[Cost, int, int, Devices]] = field(default_factory=list)
    seen: int = 0


class Ranking(Generic[K]):
    """Asking again for a kind costs only what changed since: O(changes · log n)."""

    def __init__(self, size: int, option: Callable[[int, K], Option | None]) -> None:
        """``option`` says what a place costs for a kind of thing, none where there is no room for it."""
        self._option = option
        self._versions = [0] * size
        self._changed = [*range(size)]
        self._kinds: dict[K, _Kind] = {}

    def changed(self, number: int) -> None:
        """A place costs something else from now on."""
        self._versions[number] += 1
        self._changed.append(number)

    def best(self, kind: K) -> tuple[int, Devices] | None:
        """The cheapest place, and its devices; none where none has room."""
        heap = self._heap(kind)
        while heap and self._old(heap[0]):
            heapq.heappop(heap)
        return (heap[0][1], heap[0][3]) if heap else None

    def order(self, kind: K) -> Iterator[int]:
        """All places with room, the cheapest first."""
        heap = self._heap(kind)
        self._tidy(heap)
        return (entry[1] for entry in heap)

    def _tidy(self, heap: list[tuple[Cost, int, int, Devices]]) -> None:
        heap[:] = sorted(entry for entry in heap if not self._old(entry))

    def _old(self, entry: tuple[Cost, int, int, Devices]) -> bool:
        return entry[2] != self._versions[entry[1]]

    def _heap(self, kind: K) -> list[tuple[Cost, int, int, Devices]]:
        known = self._kinds.setdefault(kind, _Kind())
        for number in sorted(set(self._changed[known.seen :])):
            if (option := self._option(number, kind)) is not None:
                heapq.heappush(known.heap, (option[0], number, self._versions[number], option[1]))
        known.seen = len(self._changed)
        if len(known.heap) > MOST_OLD * len(self._versions):
            self._tidy(known.heap)
        return known.heap
