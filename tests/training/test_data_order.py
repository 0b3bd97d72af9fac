"""The order of data that is read in parts: each sample once, alike on any number of ranks, few parts each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.training.data.order import LaneOrder, lanes_for
from aios_lab.training.pacing.sharding import ShardedBatches, part

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=25)


def _order(sizes: Sequence[int], batch: int, seed: int = 0, epoch: int = 0) -> LaneOrder:
    return LaneOrder(sizes, lanes_for(len(sizes), batch), seed, epoch)


def _batches(sizes: list[int], batch: int, rank: int, world: int, drop: bool = False) -> list[list[int]]:
    def arrange(shuffle: bool, seed: int, epoch: int) -> Sequence[int]:
        return _order(sizes, batch, seed, epoch)

    shared = ShardedBatches(
        sum(sizes), batch, shuffle=True, drop_last=drop, seed=3, rank=rank, world=world, arrange=arrange
    )
    pieces = list(shared.pieces())
    assert len(pieces) == len(shared)
    return [rows if piece.samples else [] for piece, rows in zip(pieces, shared, strict=True)]


@given(SIZES, st.integers(1, 50), st.integers(-5, 2**70), st.integers(0, 9))
def test_each_row_comes_once_and_any_piece_is_a_piece_of_the_whole(
    sizes: list[int], batch: int, seed: int, epoch: int
) -> None:
    order = _order(sizes, batch, seed, epoch)
    whole = order[:]
    assert sorted(whole) == list(range(sum(sizes)))
    assert whole == list(order) == list(_order(sizes, batch, seed, epoch))
    cut = len(whole) // 3
    assert order[:cut] + order[cut:] == whole


@given(SIZES, st.integers(1, 50), st.integers(1, 6), st.booleans())
def test_the_global_batches_are_the_same_on_any_number_of_ranks(
    sizes: list[int], batch: int, world: int, drop: bool
) -> None:
    alone = _batches(sizes, batch, 0, 1, drop)
    parts = [_batches(sizes, batch, rank, world, drop) for rank in range(world)]
    assert [[row for share in together for row in share] for together in zip(*parts, strict=True)] == alone


@given(SIZES, st.integers(1, 50), st.lists(st.integers(1, 5), min_size=2, max_size=4), st.data())
def test_each_row_counts_once_though_the_ranks_change_at_any_batch(
    sizes: list[int], batch: int, worlds: list[int], data: st.DataObject
) -> None:
    count = len(_batches(sizes, batch, 0, 1))
    cuts = sorted(data.draw(st.integers(0, count)) for _ in worlds[1:])
    seen: list[int] = []
    for world, start, stop in zip(worlds, [0, *cuts], [*cuts, count], strict=True):
        for rank in range(world):
            seen += [row for rows in _batches(sizes, batch, rank, world)[start:stop] for row in rows]
    assert sorted(seen) == list(range(sum(sizes)))


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [24, 32, 50])
def test_a_rank_meets_its_share_of_the_parts_and_few_at_a_time(world: int, batch: int) -> None:
    parts, rows = 24, 100
    sizes = [rows] * parts
    lanes = len(lanes_for(parts, batch)) - 1
    for rank in range(world):
        mine = _batches(sizes, batch, rank, world)
        met = {row // rows for batch_rows in mine for row in batch_rows}
        assert len(met) <= parts / world + 3
        planned = {one for lane in _order(sizes, batch, 3).lanes_of(rank, world) for one in lane}
        assert {row // rows for batch_rows in mine[:-1] for row in batch_rows} <= planned
        for n in range(len(mine) - 8):
            near = {row // rows for batch_rows in mine[n : n + 8] for row in batch_rows}
            assert len(near) <= 2 * (lanes / world + 2)


def test_epochs_differ_and_a_batch_mixes_many_parts() -> None:
    sizes = [100] * 24
    first, second = _order(sizes, 24, epoch=0), _order(sizes, 24, epoch=1)
    assert list(first) != list(second)
    assert all(len({row // 100 for row in first[n : n + 24]}) >= 6 for n in range(0, 2400, 24))


@given(st.integers(1, 500), st.integers(1, 500))
def test_lanes_begin_where_the_parts_of_ranks_do(parts: int, batch: int) -> None:
    lanes = lanes_for(parts, batch)
    assert lanes[0] == 0
    assert lanes[-1] == batch
    assert all(before < after for before, after in pairwise(lanes))
    assert len(lanes) - 1 <= min(parts, batch, 12)
    if parts >= 7 and batch >= 7:
        assert {part(batch, rank, world).start for world in (2, 3, 4) for rank in range(world)} <= set(lanes)
