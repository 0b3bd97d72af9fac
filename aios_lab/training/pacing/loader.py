"""A prepared DataLoader: one rank's part of each global batch, and a position that outlives the world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from aios_lab.training.pacing import orders
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.pacing.sharding import ShardedBatches, rebuilt


class SharedLoader:
    """A DataLoader over one rank's part of each global batch; each new iteration is the next epoch.

    Other attributes are the DataLoader's. An iteration during which no prepared optimizer stepped, such as
    a look at the first batch, is no epoch.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        batches: ShardedBatches,
        pace: Pace,
        boundary: Callable[[], None] = lambda: None,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """``boundary`` is called between two optimizer steps, before a global batch: not where batches that
        were handed out wait for their step, as those of a function that adds up gradients itself. ``arrived``
        is called once, when an iteration goes on where a checkpoint was taken."""
        self._loader = rebuilt(loader, batches)
        self._pace = pace
        self._boundary = boundary
        self._arrived = arrived
        self.batches = batches
        self.epoch = 0
        self._fixed: int | None = None
        self._begun = 0  # iterations, looks included
        self._looks: list[int] = []  # which of them were no epochs
        self._until: dict[str, Any] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Fix the shuffle of the next iteration; without it epochs count up from 0."""
        self._fixed = epoch

    def position(self) -> dict[str, Any]:
        """Where it is, for a checkpoint: of this iteration, or of the one to come."""
        inside = self in self._pace.active
        return {
            "iteration": self._begun - inside,
            "epoch": self.epoch,
            "consumed": self.batches.consumed if inside else 0,
            "looks": list(self._looks),
            "order": orders.of(self.batches),
        }

    def go_on(self, position: dict[str, Any]) -> None:
        """Take up a position: iterations before it yield nothing, it goes on in the middle of its own."""
        self._until = position

    def skip_to(self, position: dict[str, Any]) -> None:
        """Take up a position whose iterations the function does not repeat."""
        self._until = position
        self._begun = position["iteration"]
        self._looks = [look for look in position["looks"] if look < self._begun]

    @property
    def epochs_done(self) -> int:
        """Whole epochs before the position that was taken up."""
        if self._until is None:
            return 0
        return int(self._until["iteration"]) - len(self._until["looks"])

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        number, self._begun = self._begun, self._begun + 1
        fixed, self._fixed = self._fixed, None
        until = self._until
        if until is not None and number < until["iteration"] and number not in until["looks"]:
            return
        self.batches.consumed = 0
        goes_on = until is not None and number == until["iteration"]
        if goes_on:
            assert until is not None
            self.epoch, self.batches.consumed = until["epoch"], until["consumed"]
            self._until = None
        elif fixed is not None:
            self.epoch = fixed
        self.batches.epoch = self.epoch
        yield from self._epoch(number, goes_on)

    def _epoch(self, number: int, goes_on: bool) -> Iterator[Any]:
        before, begun, unstepped = self._pace.stepped, self.batches.consumed, self._pace.unstepped
        self._pace.active.append(self)
        try:
            yield from self._batches(goes_on)
        finally:
            self._pace.active.remove(self)
            self._pace.enter()
            if self._pace.stepped == before:  # such as an evaluation: it leaves no gradients
                self._pace.unstepped = unstepped
            trained = self._pace.stepped > before or (not self._pace.optimizers and self.batches.consumed)
            if begun or trained:
                self.epoch += 1
            elif number not in self._looks:
                self._looks.append(number)

    def _batches(self, goes_on: bool) -> Iterator[Any]:
        pieces = self.batches.pieces()
        iterator = iter(self._loader)
        if goes_on:
            self._arrived()
        begins, arrives = True, goes_on
        for piece in pieces:
            if begins and self._pace.active[0] is self:
                if not (arrives or self._pace.catching_up or self._pace.unstepped):
                    self._boundary()
                self._pace.begin()
            batch = next(iterator)
            self._pace.enter(piece.weight, piece.samples, piece.last)
            self._pace.unstepped = bool(self._pace.optimizers)
            begins, arrives = piece.last, False
            if piece.last:
                self.batches.consumed = piece.consumed
            yield batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
