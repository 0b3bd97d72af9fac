"""Which devices belong together, in tables and against all sets there are."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation.placement import Topology, best_set, best_sets

# 0–1 and 2–3 are bridged by NVLink; 0, 1, 4 and 5 are on one NUMA node, 2, 3, 6 and 7 on the other.
BRIDGED = Topology(
    links={0: (1,), 1: (0,), 2: (3,), 3: (2,)}, numa={0: 0, 1: 0, 4: 0, 5: 0, 2: 1, 3: 1, 6: 1, 7: 1}
)
CASES = {
    "two that are linked": (range(8), 2, (0, 1)),
    "the other bridge when the first is taken": ((1, 2, 3, 4), 2, (2, 3)),
    "one NUMA node where no link is whole": ((1, 2, 6, 7), 2, (2, 6)),
    "links go before nodes": ((0, 2, 3, 5), 3, (0, 2, 3)),
    "one alone breaks no bridge": (range(8), 1, (4,)),
    "and no bridge where it can be helped": ((0, 1, 6), 1, (6,)),
    "four: two bridges": (range(8), 4, (0, 1, 2, 3)),
    "none": (range(8), 0, ()),
    "all": ((5, 3, 1), 3, (1, 3, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_on_a_machine_with_bridges(case: str) -> None:
    free, count, expected = CASES[case]
    assert best_set(free, count, BRIDGED) == expected


def test_where_nothing_is_known_the_lowest_numbers() -> None:
    assert best_set((7, 3, 5), 2, Topology()) == (3, 5)


def test_workers_get_sets_of_their_own() -> None:
    assert best_sets((0, 2, 3, 4, 5, 1), 2, 3, BRIDGED) == (2, 3, 0, 1, 4, 5)
    assert best_sets(range(8), 0, 2, BRIDGED) == ()


def test_workers_of_one_slice_are_near_each_other() -> None:
    assert best_sets(range(8), 1, 2, BRIDGED) == (0, 1)
    assert best_set((1, 4, 6), 1, BRIDGED, beside=(0,)) == (1,)
    assert best_set((2, 4), 1, BRIDGED, beside=(0,)) == (4,)


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_are_free_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} devices were asked for, and 3 are free"):
        best_set((0, 1, 2), count, BRIDGED)


@st.composite
def topologies(draw: st.DrawFn, most: int = 7) -> tuple[int, Topology]:
    count = draw(st.integers(1, most))
    pairs = draw(st.sets(st.sampled_from([(a, b) for a in range(count) for b in range(count)])))
    links: dict[int, set[int]] = {}
    for a, b in pairs:
        links.setdefault(a, set()).add(b)
    return count, Topology(links, draw(st.dictionaries(st.integers(0, count), st.integers(0, 1))))


@given(topologies(), st.integers(0, 7))
def test_no_other_set_has_more_links_or_as_many_and_more_neighbours(
    machine: tuple[int, Topology], count: int
) -> None:
    size, topology = machine
    count = min(count, size)

    def worth(devices: tuple[int, ...]) -> tuple[int, int]:
        pairs = [*combinations(devices, 2)]
        return sum(topology.linked(*p) for p in pairs), sum(topology.near(*p) for p in pairs)

    chosen = best_set(range(size), count, topology)
    assert len(set(chosen)) == count
    assert worth(chosen) == max(worth(each) for each in combinations(range(size), count))


def test_of_very_many_devices_a_whole_clique_is_found() -> None:
    """C(64, 8) sets are not compared one by one."""
    clique = range(17, 25)
    links = {device: [other for other in clique if other != device] for device in clique}
    assert best_set(range(64), 8, Topology(links)) == tuple(clique)
