"""What an earlier broker left: slices that live go on, and their owners have some seconds to report.

Whoever holds the ledger's lock is the only broker, so nobody else changes anything meanwhile. A slice holds
what the ledger says until the engine has confirmed a size: it never has less than is really there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import replace

from aios_lab.broker.accounts import Accounts
from aios_lab.broker.ledger import Entry, Ledger
from aios_lab.broker.life import Life
from aios_lab.broker.slices import Slice
from aios_lab.engines.base import Engine
from aios_lab.wire import SliceState

log = logging.getLogger(__name__)

CLAIM_WITHIN = 10.0  # seconds that an owner has to report
WHY = "The server that held it ended."
RESTING = (SliceState.REQUESTED, SliceState.FAILED)  # states in which a slice may hold nothing for long
LOST = "The server that held this slice ended, and its workers with it. Ask for it again."


class Recovery:
    """Slices that have no owner yet: until one reclaims them they do not grow, and their time runs out."""

    def __init__(self, engine: Engine, ledger: Ledger, life: Life, accounts: Accounts) -> None:
        self._engine = engine
        self._ledger = ledger
        self._life = life
        self._accounts = accounts
        self._asleep: dict[str, Slice] = {}  # they hold nothing, and nobody sees them
        self._unclaimed: set[str] = set()  # they live
        self._within = self._left = 0.0

    async def begin(self, claim_within: float) -> None:
        """Take over what the engine still has; end what nobody can want any more.

        Raises:
            Refused: the ledger cannot be written.
            EngineError: what the ledger does not know, and nobody counts, could not be ended.
        """
        self._within = self._left = claim_within
        recorded = self._ledger.living()
        survivors = {*self._engine.survivors()}
        unknown = survivors - {one.id for one in recorded}
        await asyncio.gather(*map(self._engine.close, unknown))
        survivors = {slice_id for slice_id in survivors if self._engine.info(slice_id) is not None}
        adopted = [one for one in recorded if one.id in survivors]
        ended = [one for one in recorded if one.id not in survivors]
        buried = [
            _without_processes(one) for one in ended if one.held or one.gone or one.state not in RESTING
        ]
        self._ledger.bury(buried, time.time(), WHY)
        resting = {one.id: one for one in [*ended, *buried]}
        self._asleep = {one.id: one for one in resting.values() if not one.ended}
        self._adopt(adopted)
        if recorded:
            log.info("%d slices taken over, %d claims of an earlier server", len(adopted), len(self._asleep))

    def _adopt(self, slices: list[Slice]) -> None:
        now = time.time()
        for one in slices:
            self._accounts.go_on(one)
        self._life.take_over(slices, [Entry("adopted", one.step(now, cap=one.target)) for one in slices])
        self._unclaimed = {one.id for one in slices if not one.gone and one.orphaned != "gone"}
        for one in slices:
            if one.wanted and one.held and one.state != SliceState.FAILED:
                self._life.go_on(one.id, _as_it_is(one, self._life.workers(one.id)))
            elif not one.wanted or one.state == SliceState.FAILED:
                self._life.clear_away(one.id)

    def waits_for(self, slice_id: str) -> bool:
        """Whether the slice lives, and its owner has not reported yet."""
        one = self._life.slices.get(slice_id)
        return one is not None and not one.gone and slice_id in self._unclaimed

    @property
    def unclaimed(self) -> frozenset[str]:
        """Whose owner has not reported yet, and still may."""
        return frozenset({*self._asleep, *filter(self.waits_for, self._unclaimed)})

    def unpin(self, living: Collection[str]) -> None:
        """Runs not among the ``living`` keep nothing: they had not quite begun when the broker died."""
        for one in list(self._life.slices.values()):
            for run_id in one.pins.keys() - set(living):
                self._life.unpin(one.id, run_id)

    def reclaim(self, slice_id: str) -> bool:
        """Its owner is there; False when the slice waits for nobody. Raises: Refused, and it waits on."""
        if (one := self._asleep.get(slice_id)) is not None:
            self._life.put("reclaimed", one.step(time.time()))
            del self._asleep[slice_id]
        elif self.waits_for(slice_id):
            self._life.put("reclaimed", self._life.get(slice_id).step(time.time(), cap=None))
            self._unclaimed.discard(slice_id)
        else:
            return False
        return True

    def heard_from_now(self) -> None:
        """Owners could not reach this broker before: they have all of their time."""
        self._left = self._within

    def passed(self, seconds: float) -> None:
        """So much time went by in which owners could report: none while this process stood still.

        Raises:
            Refused: the ledger cannot be written; they have more time.
        """
        self._left -= seconds
        if self._left < 0 and (self._asleep or self._unclaimed):
            self.end()

    def end(self) -> None:
        """Nobody can report any more. Raises: Refused."""
        now = time.time()
        expired = [one.step(now, SliceState.EXPIRED) for one in self._asleep.values()]
        self._ledger.bury(expired, now, WHY)
        self._asleep = {}
        for slice_id in sorted(self._unclaimed):
            self._life.expire(slice_id, WHY)
            self._unclaimed.discard(slice_id)


def _without_processes(one: Slice) -> Slice:
    """What is left of a slice whose workers are gone: its end is noted, or it is as it would have been with
    none if it had none yet or was to give up all, or it sleeps."""
    now = time.time()
    if one.gone:
        return one.emptied(now, SliceState.EXPIRED)
    without = one.state in (SliceState.GRANTED, SliceState.FAILED) or one.target == 0
    changes = {} if without else {"wanted": False, "problem": LOST}
    return one.step(now, SliceState.FAILED, **changes).emptied(now, SliceState.REQUESTED)


def _as_it_is(one: Slice, workers: int) -> Slice:
    """The slice with no more units than workers are up."""
    units, left = {}, workers
    for node, count in sorted(one.units.items()):
        units[node] = min(count, left)
        left -= units[node]
    return replace(one, units={node: count for node, count in units.items() if count})
