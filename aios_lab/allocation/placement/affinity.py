"""Which devices of one machine belong together: linked by NVLink first, then on one NUMA node."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

# So many sets are compared one by one; where there are more, devices are added one at a time.
COMPARED = 20_000

Rank = tuple[int, int, int, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Topology:
    """By device, the devices that NVLink connects it to, and its NUMA node; what is not known is left out."""

    links: Mapping[int, Collection[int]] = field(default_factory=dict)
    numa: Mapping[int, int] = field(default_factory=dict)

    def linked(self, a: int, b: int) -> bool:
        return b in self.links.get(a, ()) or a in self.links.get(b, ())

    def near(self, a: int, b: int) -> bool:
        return a in self.numa and self.numa[a] == self.numa.get(b)


def best_set(
    free: Iterable[int], count: int, topology: Topology, beside: Iterable[int] = ()
) -> tuple[int, ...]:
    """``count`` of the free devices, in ascending order: with the most NVLink pairs among them and those they
    work ``beside``, then the most such pairs on one NUMA node, then the fewest of either kind cut between
    them and those that stay free, then the lowest numbers.

    Of many devices (more than 20,000 sets) the set is grown one by one from the best pair.

    Raises:
        ValueError: so many are not free.
    """
    devices, others = sorted(set(free)), tuple(beside)
    if not 0 <= count <= len(devices):
        raise ValueError(f"{count} devices were asked for, and {len(devices)} are free.")

    def rank(chosen: tuple[int, ...]) -> Rank:
        return _rank(chosen, devices, others, topology)

    if math.comb(len(devices), count) <= COMPARED:
        return min(combinations(devices, count), key=rank)
    chosen = min(combinations(devices, min(2, count)), key=rank)
    while len(chosen) < count:
        chosen = min((tuple(sorted((*chosen, one))) for one in devices if one not in chosen), key=rank)
    return chosen


def best_sets(
    free: Iterable[int], size: int, sets: int, topology: Topology, beside: Iterable[int] = ()
) -> tuple[int, ...]:
    """Devices for so many workers of ``size`` devices each: the best set for all of them together, out of it
    the best for each, those of one worker next to each other.

    Raises:
        ValueError: so many are not free.
    """
    left = best_set(free, size * sets, topology, beside)
    chosen: list[int] = []
    for _ in range(sets):
        devices = best_set(left, size, topology)
        chosen += devices
        left = tuple(device for device in left if device not in devices)
    return tuple(chosen)


def _rank(chosen: Sequence[int], free: Sequence[int], beside: Sequence[int], topology: Topology) -> Rank:
    """Smallest is best."""
    pairs = [*combinations(chosen, 2), *product(chosen, beside)]
    cut = [(one, other) for one in chosen for other in free if other not in chosen]
    return (
        -sum(topology.linked(*pair) for pair in pairs),
        -sum(topology.near(*pair) for pair in pairs),
        sum(topology.linked(*pair) for pair in cut),
        sum(topology.near(*pair) for pair in cut),
        tuple(chosen),
    )
