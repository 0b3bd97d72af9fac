"""The same global batches on any number of ranks: each rank loads its part of every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from aios_lab.training.errors import CannotTrain

# Data that is read in parts knows an order that needs few of them at a time, which its ``epoch_order`` gives:
# by the global batch that the run began with, and then by whether it is shuffled, seed and epoch.
Arrange = Callable[[bool, int, int], Sequence[int]]


def part(count: int, rank: int, world: int) -> slice:
    """Which of a global batch's ``count`` samples are the rank's: equal parts, the remainder to the first."""
    base, extra = divmod(count, world)
    start = rank * base + min(rank, extra)
    return slice(start, start + base + (rank < extra))


@dataclass(frozen=True, slots=True)
class Piece:
    """What a rank computes at once of a global batch. ``samples`` of it count (a piece without any holds
    one sample), by ``weight`` against what the other ranks have; ``last``: the batch ends with it, at
    ``consumed`` samples of the epoch."""

    start: int
    stop: int
    samples: int
    weight: float
    last: bool
    consumed: int


class ShardedBatches(Sampler[list[int]]):
    """Indices for one rank out of global batches that all ranks agree on.

    The order depends on (seed, epoch) only, and where it begins on ``consumed``, the samples of this epoch
    that are done: never on the number of ranks. A rank whose part of a batch is larger than ``micro`` gets
    it in pieces, all ranks in as many. One whose part of the last batch is empty gets one sample with
    weight 0, so that all ranks take the same number of steps.
    """

    def __init__(
        self,
        size: int,
        batch: int,
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int,
        world: int,
        micro: int | None = None,
        arrange: Arrange | None = None,
        asked: int | None = None,
        first_world: int | None = None,
    ):
        """``asked`` is the batch size that the loader came with, for the ``first_world`` ranks."""
        self._arrange = arrange
        self.asked, self.first_world = asked or batch, first_world or world
        self.size, self.batch, self.shuffle, self.drop_last = size, batch, shuffle, drop_last
        self.seed, self.rank, self.world, self.micro = seed, rank, world, micro
        self.epoch = 0
        self.consumed = 0

    @property
    def arranged(self) -> bool:
        """Whether the order is the data's own, which follows from the batch size, too."""
        return self._arrange is not None

    def __len__(self) -> int:
        """Global batches of a whole epoch."""
        return self.size // self.batch if self.drop_last else -(-self.size // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        return (list(order[piece.start : piece.stop]) for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """What this rank computes from ``consumed``, as it is now, on."""
        return self._pieces(self.consumed)

    def _pieces(self, begin: int) -> Iterator[Piece]:
        while begin < self.size:
            count = min(self.batch, self.size - begin)
            if self.drop_last and count < self.batch:
                return
            yield from self._split(begin, count)
            begin += count

    def _split(self, begin: int, count: int) -> Iterator[Piece]:
        mine = part(count, self.rank, self.world)
        largest = -(-count // self.world)
        number = -(-largest // self.micro) if self.micro else 1
        for index in range(number):
            piece = part(mine.stop - mine.start, index, number)
            samples = piece.stop - piece.start
            start = begin + mine.start + piece.start if samples else begin
            yield Piece(
                start=start,
                stop=start + max(1, samples),
                samples=samples,
                weight=samples * self.world / count,
                last=index == number - 1,
                consumed=begin + count,
            )

    def _order(self) -> Sequence[int]:
        if self._arrange is not None:
            return self._arrange(self.shuffle, self.seed, self.epoch)
        if not self.shuffle:
            return list(range(self.size))
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = torch.randperm(self.size, generator=generator).tolist()
        return order


def batches_of(
    loader: DataLoader[Any],
    *,
    seed: int,
    rank: int,
    world: int,
    first_world: int | None = None,
    pieces: int = 1,
    grows: bool = False,
) -> ShardedBatches | None:
    """How the ranks share out what ``loader`` loads; None for one with a ``DistributedSampler``, which is
    shared out already.

    Args:
        first_world: ranks that the run began with, ``world`` by default. No rank computes more at once than
            it did then.
        pieces: in how many pieces a rank of the first world computed its part.
        grows: the global batch follows the number of ranks, instead of staying as the loader has it.

    Raises:
        CannotTrain: the order of its samples is its own (a custom sampler, an IterableDataset).
    """
    sampler, dataset = loader.sampler, loader.dataset
    if isinstance(sampler, DistributedSampler):
        return None
    batch, shuffle = _order(loader), isinstance(sampler, RandomSampler)
    first_batch, arrange = batch, getattr(dataset, "epoch_order", None)
    first_world = first_world or world
    micro = -(-batch // (first_world * pieces))
    if grows:
        batch = max(1, round(batch * world / first_world))
    if batch < world:
        raise CannotTrain(
            f"A global batch of {batch} cannot be split over {world} ranks: take {world} or more."
        )
    assert isinstance(dataset, Sized)
    return ShardedBatches(
        len(dataset),
        batch,
        shuffle=shuffle,
        drop_last=loader.drop_last,
        seed=seed if loader.generator is None else loader.generator.initial_seed(),
        rank=rank,
        world=world,
        micro=micro,
        arrange=None if arrange is None else partial(arrange, first_batch),
        asked=first_batch,
        first_world=first_world,
    )


def _order(loader: DataLoader[Any]) -> int:
    """The loader's batch size, once it is known to go through its whole dataset, shuffled or not."""
    sampler, size = loader.sampler, loader.batch_size
    plain = type(sampler) in (RandomSampler, SequentialSampler) and type(loader.batch_sampler) is BatchSampler
    if not plain or size is None or not isinstance(loader.dataset, Sized):
        kind = type(loader.batch_sampler if plain else sampler).__name__
        raise CannotTrain(
            "ctx.prepare shares out DataLoaders of map-style datasets with a batch size, shuffled or not; "
            f"this one has a {kind}. Give it a DistributedSampler, or split its data by ctx.rank."
        )
    drawn = isinstance(sampler, RandomSampler) and sampler.num_samples != len(loader.dataset)
    if drawn or getattr(sampler, "replacement", False):
        raise CannotTrain(
            "ctx.prepare cannot share out a RandomSampler that draws a part, or with replacement."
        )
    return size


def rebuilt(loader: DataLoader[Any], batches: ShardedBatches) -> DataLoader[Any]:
    """The same loader over ``batches``."""
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )
