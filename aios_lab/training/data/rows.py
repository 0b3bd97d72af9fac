"""Map-style datasets over rows that lie in parts. Only ranks import this: it needs torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from aios_lab.training.data.block import Array, Shape
from aios_lab.training.data.cache import PartCache
from aios_lab.training.data.order import LANES, LaneOrder, lanes_for
from aios_lab.training.data.reading import Count, Reading

OPEN = 256  # mapped parts that are kept open
BUFFER = 2**30  # bytes that the parts of all lanes may take, as long as there are two lanes


class Leaf(Protocol):
    """Values of rows, as an array gives them."""

    def __getitem__(self, rows: Any) -> Array: ...


class Rows(Dataset[Any], ABC):
    """Samples by number, out of parts of ``sizes`` rows. Numbers come as tensors, others as they are."""

    def __init__(self, shape: Shape, sizes: Sequence[int], world: int) -> None:
        self._shape = shape
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._reading = Reading(len(self), world)

    @abstractmethod
    def _take(self, part: int, rows: Any) -> list[Array]:
        """These rows of a part, leaf by leaf."""

    @property
    def reading(self) -> Count:
        """What this rank has read so far."""
        return self._reading.count

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several samples at once, as a DataLoader asks for a batch."""
        rows = np.asarray(indices, dtype=np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"there are {len(self)} samples, and {list(indices)} were asked for")
        parts = np.searchsorted(self._first, rows, side="right") - 1
        samples: list[Any] = [None] * len(rows)
        for part in np.unique(parts).tolist():
            places = np.flatnonzero(parts == part)
            taken = self._take(part, rows[places] - self._first[part])
            for place, values in zip(places.tolist(), zip(*map(_values, taken), strict=True), strict=True):
                samples[place] = self._shape.sample(values)
        self._reading.add(samples=len(samples))
        return samples


class MappedRows(Rows):
    """Rows of parts that lie in mapped files, of which only those are looked at that are asked for.

    Args:
        leaves: opens a part.
    """

    def __init__(
        self, shape: Shape, sizes: Sequence[int], leaves: Callable[[int], Sequence[Leaf]], world: int
    ) -> None:
        super().__init__(shape, sizes, world)
        self._open = leaves
        self._leaves: Any = None

    def _take(self, part: int, rows: Any) -> list[Array]:
        if self._leaves is None:
            self._leaves = lru_cache(OPEN)(self._open)
        taken = [leaf[rows] for leaf in self._leaves(part)]
        self._reading.add(read=sum(one.nbytes for one in taken))
        return taken

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_leaves": None}


class StreamedRows(Rows):
    """Rows of parts that are read as a whole, and ahead of their use.

    Args:
        load: reads a part: its leaves, and how many bytes that took.
        largest: bytes of the largest part in memory.
    """

    def __init__(
        self,
        shape: Shape,
        sizes: Sequence[int],
        load: Callable[[int], tuple[Sequence[Leaf], int]],
        largest: int,
        rank: int,
        world: int,
    ) -> None:
        super().__init__(shape, sizes, world)
        self._sizes = list(sizes)
        self._rank, self._world = rank, world
        self._lanes = max(2, min(LANES, BUFFER // max(1, largest)))
        self._cache = PartCache(load, self._reading, self._lanes, len(self._sizes))

    @property
    def held(self) -> int:
        """How many parts are in memory."""
        return self._cache.held

    def epoch_order(self, batch: int, shuffle: bool, seed: int, epoch: int) -> Sequence[int]:
        """The order of an epoch whose global batch is ``batch``: shuffled so that each rank needs few parts.

        ``ctx.prepare`` asks for it, and takes it for the DataLoader's own shuffle.
        """
        if not shuffle:
            self._cache.plan([range(len(self._sizes))], 2 * batch)
            return range(len(self))
        order = LaneOrder(self._sizes, lanes_for(len(self._sizes), batch, self._lanes), seed, epoch)
        self._cache.plan(order.lanes_of(self._rank, self._world), 2 * batch)
        return order

    def _take(self, part: int, rows: Any) -> list[Array]:
        return [leaf[rows] for leaf in self._cache.get(part, len(rows))]


def _values(column: Array) -> Sequence[Any]:
    if column.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(column)).unbind(0)
    return [_value(one) for one in column]


def _value(value: Any) -> Any:
    """Arrays within a column, such as embeddings, come as tensors too."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.tensor(value)
    return value
