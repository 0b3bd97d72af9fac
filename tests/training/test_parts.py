"""Parts of training that need no cluster: how batches are shared, and how output is bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from aios_lab.training.errors import CannotTrain
from aios_lab.training.frames import FrameReader, FrameWriter
from aios_lab.training.pacing.loader import SharedLoader
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.pacing.sharding import ShardedBatches, batches_of, part
from aios_lab.training.worker.logs import BURST, LINE_LIMIT, Output


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 200), st.booleans(), st.booleans())
def test_ranks_share_each_global_batch_exactly(
    batch: int, world: int, size: int, shuffle: bool, drop: bool
) -> None:
    options = {"shuffle": shuffle, "drop_last": drop, "seed": 5}
    whole = list(ShardedBatches(size, batch, rank=0, world=1, **options))
    shards = [ShardedBatches(size, batch, rank=rank, world=world, **options) for rank in range(world)]
    parts = [list(shard) for shard in shards]
    assert {len(p) for p in parts} == {len(shards[0])} == {len(whole)}
    pieces = [list(shard.pieces()) for shard in shards]
    for index, expected in enumerate(whole):
        weights = [piece[index].weight for piece in pieces]
        counted = [p[index] for p, weight in zip(parts, weights, strict=True) if weight > 0]
        assert [i for chunk in counted for i in chunk] == expected
        assert sum(weights) == pytest.approx(world)


@given(st.integers(0, 500), st.integers(1, 20))
def test_parts_differ_by_one_at_most(count: int, world: int) -> None:
    sizes = [part(count, rank, world).stop - part(count, rank, world).start for rank in range(world)]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1


def test_epochs_differ_and_repeat() -> None:
    whole = DataLoader(TensorDataset(torch.arange(20)), batch_size=4, shuffle=True)
    batches = batches_of(whole, seed=1, rank=0, world=1)
    assert batches is not None
    loader = SharedLoader(whole, batches, Pace())
    first, second = ([int(v) for (batch,) in loader for v in batch] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    loader.set_epoch(0)
    assert [int(v) for (batch,) in loader for v in batch] == first


def test_loaders_with_an_order_of_their_own_are_refused() -> None:
    data = TensorDataset(torch.arange(4))
    own = DataLoader(data, batch_size=2, sampler=WeightedRandomSampler([1.0] * 4, 4))
    with pytest.raises(CannotTrain, match="WeightedRandomSampler"):
        batches_of(own, seed=0, rank=0, world=2)
    with pytest.raises(CannotTrain, match="cannot be split over 4 ranks"):
        batches_of(DataLoader(data, batch_size=2), seed=0, rank=0, world=4)


def test_output_is_cut_counted_and_kept_in_the_file(tmp_path: Path) -> None:
    output = Output(tmp_path / "rank0.log")
    output.feed("stdout", b"half")
    output.feed("stderr", b"whole\n10%\r20%\r\n")
    assert output.take() == ["whole", "20%"]
    output.feed("stdout", b" done\n" + b"y" * 5000 + b"\n")
    half, long = output.take()
    assert half == "half done"
    assert len(long) == LINE_LIMIT + 3
    output.feed("stdout", b"".join(b"%d\n" % n for n in range(10 * BURST)))
    output.feed("stdout", b"end without newline")
    shown = output.finish()
    assert shown[-1] == "end without newline"
    assert any("lines left out" in line for line in shown)
    assert len(shown) < 2 * BURST
    assert (tmp_path / "rank0.log").read_bytes().count(b"\n") == 10 * BURST + 5


def test_a_frame_may_come_in_any_pieces() -> None:
    read, write = os.pipe()
    writer = FrameWriter(write)
    writer.send(("metrics", [1, 2]))
    writer.send(("outcome", None))
    data = os.read(read, 65536)
    os.close(read)
    os.close(write)
    reader = FrameReader()
    assert [m for byte in data for m in reader.feed(bytes([byte]))] == [
        ("metrics", [1, 2]),
        ("outcome", None),
    ]
