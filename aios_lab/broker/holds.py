"""What runs need of the slices that they are on, and how the server speaks with who leads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.broker.life import Life
from aios_lab.engines.base import Answer, Engine


class Holds:
    """The runs on all slices, as the ledger knows them."""

    def __init__(self, engine: Engine, life: Life) -> None:
        self._engine = engine
        self._life = life

    def pin(self, slice_id: str, run_id: str, units: int, detached: bool = False) -> None:
        """A run began: so many of the units that are there now are not taken away before ``unpin``. While one
        is there that is ``detached``, the slice goes on without its owner, and without a server.

        Raises:
            Refused: the slice is gone (404), or 'ledger_unavailable'.
        """
        one = self._life.get(slice_id)
        pins = {**one.pins, run_id: max(0, min(units, one.target))}
        runs = (*one.detached, run_id) if detached else one.detached
        self._life.put("pinned", one.step(time.time(), pins=pins, detached=runs), {"run": run_id})

    def lower(self, slice_id: str, run_id: str, units: int | None) -> None:
        """A run can go on from a checkpoint: it holds no more than these units; where None, nothing of a
        claim that may be preempted, and one unit of another. A slice or run that is gone is fine.

        Raises:
            Refused: 'ledger_unavailable'.
        """
        one = self._life.slices.get(slice_id)
        if one is None or run_id not in one.pins:
            return
        least = int(not one.claim.preemptible) if units is None else units
        if least < one.least.get(run_id, one.pins[run_id]):
            lower = {**one.least, run_id: least}
            self._life.put("pinned", one.step(time.time(), least=lower), {"run": run_id})

    def unpin(self, slice_id: str, run_id: str) -> None:
        """A run ended. A slice that is gone is fine."""
        self._life.unpin(slice_id, run_id)

    def runs(self, slice_id: str) -> frozenset[str]:
        """The runs on a slice."""
        one = self._life.slices.get(slice_id)
        return frozenset() if one is None else frozenset(one.pins)

    @property
    def detached(self) -> frozenset[str]:
        """The slices that go on without their owners."""
        return frozenset(one.id for one in self._life.slices.values() if one.detached)

    def tell(self, slice_id: str, message: Mapping[str, Any]) -> None:
        """Say something to what runs in the slice's scheduler. Unknown ids are fine."""
        self._engine.tell(slice_id, message)

    def on_told(self, hear: Callable[[str, Mapping[str, Any], Answer], None]) -> None:
        """Hear what is said there, with the slice's id."""
        self._life.hear = hear
