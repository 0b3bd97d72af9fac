"""In which order data is gone through that is read in parts: shuffled, yet each rank needs few parts.

All parts, in an order that is drawn, and each with its rows shuffled, make one long sequence. It is cut into
*lanes*, and each global batch takes some rows from every lane, so that a batch mixes rows from all over while
only one part a lane is open. Lane after lane fills a batch from its first place to its last; a rank, whose
part of a batch are neighbouring places, meets the parts of its own lanes only, but in the last batch.

The order depends on the data, the global batch, the seed and the epoch, never on the number of ranks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from aios_lab.training.pacing.sharding import part

LANES = 12  # at most: many for a good mixture, few to be open at a time
# So many ranks share out whole lanes; the later ones if there are lanes for it.
WORLDS = (2, 3, 4, 6, 8, 5, 12)

Rows = NDArray[np.int64]


def lanes_for(parts: int, batch: int, most: int = LANES) -> list[int]:
    """The places of a global batch at which lanes begin, and its end: where the parts of ranks begin too."""
    cuts = {0}
    for world in WORLDS:
        more = cuts | {part(batch, rank, world).start for rank in range(world)}
        if len(more) <= min(parts, batch, most):
            cuts = more
    return [*sorted(cuts), batch]


class LaneOrder(Sequence[int]):
    """The rows of one epoch in order; worked out where it is looked at, since there may be many.

    ``sizes`` are the rows of each part, ``lanes`` where lanes begin in a global batch (see ``lanes_for``).
    """

    def __init__(self, sizes: Sequence[int], lanes: Sequence[int], seed: int, epoch: int) -> None:
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self._first = _sums(self._sizes)
        self._batch, self._seed, self._epoch = lanes[-1], seed % 2**64, epoch
        self._parts = self._draw().permutation(len(sizes))
        self._starts = _sums(self._sizes[self._parts])
        self._shuffled: OrderedDict[int, Rows] = OrderedDict()
        self._whole, rest = divmod(len(self), self._batch)  # whole batches, and rows of the last one
        self._place = np.asarray(lanes, dtype=np.int64)
        self._place_last = self._place * rest // self._batch
        self._each, last = np.diff(self._place), np.diff(self._place_last)
        self._lane_of = np.repeat(np.arange(len(last)), self._each)
        self._lane_of_last = np.repeat(np.arange(len(last)), last)
        self._cuts = _sums(self._each * self._whole + last)

    def __len__(self) -> int:
        return int(self._first[-1])

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return self._rows(np.arange(*index.indices(len(self)), dtype=np.int64))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._rows(np.array([index % len(self)]))[0]

    def lanes_of(self, rank: int, world: int) -> list[list[int]]:
        """The parts that a rank meets, lane by lane, as they come."""
        mine = part(self._batch, rank, world)
        lanes = range(*_span(self._lane_of[mine]))
        return [self._parts_between(int(self._cuts[lane]), int(self._cuts[lane + 1])) for lane in lanes]

    def _parts_between(self, start: int, stop: int) -> list[int]:
        if start >= stop:
            return []
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        return [int(one) for one in self._parts[first:last] if self._sizes[one]]

    def _rows(self, places: Rows) -> list[int]:
        number, place = np.divmod(places, self._batch)
        last = number >= self._whole
        lane = np.empty(len(places), dtype=np.int64)
        lane[~last], lane[last] = self._lane_of[place[~last]], self._lane_of_last[place[last]]
        offset = place - np.where(last, self._place_last[lane], self._place[lane])
        drawn = self._cuts[lane] + number * self._each[lane] + offset
        at = np.searchsorted(self._starts, drawn, side="right") - 1
        within = drawn - self._starts[at]
        found = np.empty(len(places), dtype=np.int64)
        for here in np.unique(at):
            chosen, one = at == here, int(self._parts[here])
            found[chosen] = self._first[one] + self._shuffle(one)[within[chosen]]
        rows: list[int] = found.tolist()
        return rows

    def _shuffle(self, one: int) -> Rows:
        """The rows of a part in their drawn order; kept while its lane is in it."""
        if one not in self._shuffled:
            self._shuffled[one] = self._draw(one + 1).permutation(int(self._sizes[one]))
            if len(self._shuffled) > 2 * len(self._each) + 2:
                self._shuffled.popitem(last=False)
        self._shuffled.move_to_end(one)
        return self._shuffled[one]

    def _draw(self, what: int = 0) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._epoch, what])


def _sums(counts: Rows) -> Rows:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _span(lanes: Rows) -> tuple[int, int]:
    return (int(lanes[0]), int(lanes[-1]) + 1) if len(lanes) else (0, 0)
