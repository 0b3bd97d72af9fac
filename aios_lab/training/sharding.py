"""The same global batches on any number of ranks: each rank loads its part of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sized
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


def part(count: int, rank: int, world: int) -> slice:
    """Which of a global batch's ``count`` samples are the rank's: equal parts, the remainder to the first."""
    base, extra = divmod(count, world)
    start = rank * base + min(rank, extra)
    return slice(start, start + base + (rank < extra))


class ShardedBatches(Sampler[list[int]]):
    """Batches of indices for one rank out of global batches that all ranks agree on.

    The order depends on (seed, epoch) only, never on the number of ranks. A rank whose part of the last batch
    is empty gets one sample with weight 0, so that all ranks take the same number of steps.
    """

    def __init__(
        self, size: int, batch: int, *, shuffle: bool, drop_last: bool, seed: int, rank: int, world: int
    ):
        self.size, self.batch, self.shuffle, self.drop_last = size, batch, shuffle, drop_last
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return self.size // self.batch if self.drop_last else -(-self.size // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        for start in range(0, len(self) * self.batch, self.batch):
            whole = order[start : start + self.batch]
            mine = whole[part(len(whole), self.rank, self.world)]
            yield mine or whole[:1]

    def weight(self, index: int) -> float:
        """By what rank gradients of batch ``index`` count so that their plain mean is that of all samples."""
        count = min(self.batch, self.size - index * self.batch)
        mine = part(count, self.rank, self.world)
        return float((mine.stop - mine.start) * self.world / count)

    def _order(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = torch.randperm(self.size, generator=generator).tolist()
        return order


class SharedLoader:
    """A DataLoader over one rank's part of each global batch; each new iteration is the next epoch.

    ``weight`` belongs to the batch that was handed out last. Other attributes are the DataLoader's.
    """

    def __init__(self, loader: DataLoader[Any], batches: ShardedBatches) -> None:
        self._loader = loader
        self.batches = batches
        self.weight = 1.0
        self._epoch: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Fix the shuffle of the next iteration; without it epochs count up from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        epoch = self.batches.epoch if self._epoch is None else self._epoch
        self._epoch = None
        self.batches.epoch = epoch
        iterator = iter(self._loader)
        for index, batch in enumerate(iterator):
            if index == 0:
                self.batches.epoch = epoch + 1
            self.weight = self.batches.weight(index)
            yield batch
        self.weight = 1.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def share(loader: DataLoader[Any], *, seed: int, rank: int, world: int) -> DataLoader[Any] | SharedLoader:
    """The rank's part of ``loader``; the loader's batch size is the global batch, whatever the world size.

    A loader with a ``DistributedSampler`` is shared out already and comes back as it is.

    Raises:
        CannotTrain: the order of its samples is its own (a custom sampler, an IterableDataset).
    """
    sampler, dataset = loader.sampler, loader.dataset
    if isinstance(sampler, DistributedSampler):
        return loader
    batch, shuffle = _order(loader), isinstance(sampler, RandomSampler)
    if batch < world:
        raise CannotTrain(
            f"A global batch of {batch} cannot be split over {world} ranks: take {world} or more."
        )
    assert isinstance(dataset, Sized)
    batches = ShardedBatches(
        len(dataset),
        batch,
        shuffle=shuffle,
        drop_last=loader.drop_last,
        seed=seed if loader.generator is None else loader.generator.initial_seed(),
        rank=rank,
        world=world,
    )
    return SharedLoader(_rebuilt(loader, batches), batches)


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


def _rebuilt(loader: DataLoader[Any], batches: ShardedBatches) -> DataLoader[Any]:
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
