"""What principals have used: every step of a slice is told here, and the ledger keeps the balances."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from aios_lab.allocation import Resources, Sharing, Usage
from aios_lab.allocation.usage import Meter, shares_of
from aios_lab.broker.ledger import Ledger
from aios_lab.broker.quotas import principal_path
from aios_lab.broker.slices import Slice

REFRESHED = 30.0  # seconds that a told usage may be old


class Accounts:
    """Moving averages by principal; they begin where the ledger's last heartbeat left them.

    What is told of them is brought up to date when a claim begins and otherwise every ``REFRESHED`` seconds,
    in which usage hardly moves: a decision need not be made anew for a difference of nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._meter = Meter(Sharing())
        self._told: tuple[Usage, ...] = ()
        self._asked: tuple[frozenset[str], Sharing] | None = None
        self._fresh_until = 0.0

    def open(self, sharing: Sharing) -> None:
        """Begin with what the ledger has. Raises: Refused."""
        self._meter = Meter(sharing, self._ledger.balances())

    def moved(self, before: Slice | None, after: Slice) -> None:
        """A slice made a step: what it held until now was used, and one that begins is charged for it."""
        now = time.time()
        if before is not None and before.held:
            self._meter.hold(_principal(before), before.unit, -before.held, now)
        if after.held:
            self._meter.hold(_principal(after), after.unit, after.held, now)
            if before is None or not before.held:
                self._meter.charge(_principal(after), after.unit, after.held, now)
                self._asked = None

    def go_on(self, one: Slice) -> None:
        """A slice of an earlier broker was taken over: what it holds is used, and was charged for already."""
        self._meter.hold(_principal(one), one.unit, one.held, time.time())

    def usage(self, principals: Iterable[str], sharing: Sharing, now: float) -> tuple[Usage, ...]:
        """What these have used, up to ``REFRESHED`` seconds ago, by the half-life that counts now."""
        asked = frozenset(principals), sharing
        if asked != self._asked or not self._fresh_until - REFRESHED <= now < self._fresh_until:
            self._meter.adopt(sharing, now)
            self._told = self._meter.usage(asked[0], now)
            self._asked, self._fresh_until = asked, now + REFRESHED
        return self._told

    def recent(self, principals: Iterable[str], capacity: Resources, now: float) -> Mapping[str, float]:
        """The dominant shares that these held on average lately. What ``usage`` tells stays as it was."""
        return shares_of(self._meter.usage(principals, now), capacity, self._meter.sharing)

    def beat(self, now: float) -> None:
        """The broker's heartbeat, with the balances that moved. Raises: Refused, and they are kept later."""
        self._ledger.heartbeat(now, self._meter.to_keep(now))
        self._meter.kept()


def _principal(one: Slice) -> str:
    return principal_path(one.claim.project, one.owner.user)
