"""What principals use over time: the account that a broker and a simulator keep for the snapshot's ``usage``.

Whoever owns the clock tells the account when units come and go. Every principal on the path has a moving
average of what is held below it, brought up to date only when something of it changes or is asked for
(``recent_usage`` of ``fairness.decay``: in two steps it comes to the same as in one).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aios_lab.allocation.fairness.decay import decay_factor, entry_charge
from aios_lab.allocation.shares import path_of
from aios_lab.allocation.types import RESOURCES, Resources, Sharing, Snapshot, Usage

Amounts = tuple[float, float, float, float]
NOTHING: Amounts = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Balance:
    """A principal's moving average, in the order of ``RESOURCES`` and in their amounts, as of ``time``."""

    principal: str
    time: float
    average: Amounts


@dataclass(slots=True)
class _Account:
    time: float
    average: Amounts = NOTHING
    held: tuple[int, int, int, int] = (0, 0, 0, 0)


class Meter:
    """Moving averages by principal, with the half-life of ``sharing``. Times are in seconds and may not be in
    order: a clock that was set back makes nobody's usage grow."""

    def __init__(self, sharing: Sharing, balances: Iterable[Balance] = ()) -> None:
        self.sharing = sharing
        self._accounts = {one.principal: _Account(one.time, one.average) for one in balances}
        self._changed: set[str] = set()

    def adopt(self, sharing: Sharing, now: float) -> None:
        """Other parameters from now on; what was used before has faded by the old half-life."""
        if sharing.half_life != self.sharing.half_life:
            for account in self._accounts.values():
                self._settle(account, now)
        self.sharing = sharing

    def hold(self, principal: str, unit: Resources, units: int, now: float) -> None:
        """So many units more are held from now on, or fewer."""
        for name in path_of(principal)[1:]:
            account = self._settled(name, now)
            cpu, memory, gpu, gpu_memory = account.held
            account.held = (
                cpu + unit.cpu * units,
                memory + unit.memory * units,
                gpu + unit.gpu * units,
                gpu_memory + unit.gpu_memory * units,
            )

    def charge(self, principal: str, unit: Resources, units: int, now: float) -> None:
        """A claim begins with so many units: what ``sharing.charge`` seconds of them come to counts at once
        (Kueue's entry penalty), so that many short claims cost more than a long one."""
        request = dict(zip(RESOURCES, (unit * units).vector, strict=True))
        added = entry_charge(request, self.sharing.charge, self.sharing.half_life)
        for name in path_of(principal)[1:]:
            account = self._settled(name, now)
            cpu, memory, gpu, gpu_memory = account.average
            account.average = (
                cpu + added["cpu"],
                memory + added["memory"],
                gpu + added["gpu"],
                gpu_memory + added["gpu_memory"],
            )

    def usage(self, principals: Iterable[str], now: float) -> tuple[Usage, ...]:
        """What these have used by now, in whole amounts times seconds; who has used nothing is left out."""
        window = self.sharing.window
        found = []
        for name in sorted(set(principals) & self._accounts.keys() if window else ()):
            average = self._average(self._accounts[name], now)
            amount = Resources(*(round(each * window) for each in average))
            if amount != Resources():
                found.append(Usage(name, amount))
        return tuple(found)

    def to_keep(self, now: float) -> list[Balance]:
        """The balances that moved since ``kept``: of who holds something, was charged, or gave back."""
        names = self._changed | {name for name, account in self._accounts.items() if any(account.held)}
        return [Balance(name, now, self._average(self._accounts[name], now)) for name in sorted(names)]

    def kept(self) -> None:
        """What ``to_keep`` gave is where a restart finds it."""
        self._changed = set()

    def _settled(self, name: str, now: float) -> _Account:
        account = self._accounts.setdefault(name, _Account(now))
        self._settle(account, now)
        self._changed.add(name)
        return account

    def _settle(self, account: _Account, now: float) -> None:
        account.average = self._average(account, now)
        account.time = now

    def _average(self, account: _Account, now: float) -> Amounts:
        left = decay_factor(max(0.0, now - account.time), self.sharing.half_life)
        cpu, memory, gpu, gpu_memory = account.average
        held = account.held
        return (
            left * cpu + (1 - left) * held[0],
            left * memory + (1 - left) * held[1],
            left * gpu + (1 - left) * held[2],
            left * gpu_memory + (1 - left) * held[3],
        )


def balances(snapshot: Snapshot) -> list[Balance]:
    """What a meter starts from that goes on where the snapshot is."""
    window = snapshot.sharing.window
    return [
        Balance(
            one.principal, snapshot.now, (cpu / window, memory / window, gpu / window, gpu_memory / window)
        )
        for one in snapshot.usage
        if window
        for cpu, memory, gpu, gpu_memory in (one.amount.vector,)
    ]


def shares_of(usage: Iterable[Usage], capacity: Resources, sharing: Sharing) -> Mapping[str, float]:
    """The largest part of any resource that each principal has used: 1 for who always had all of it."""
    whole = [amount * sharing.window for amount in capacity.vector]
    return {
        one.principal: max(u / w if w else 0.0 for u, w in zip(one.amount.vector, whole, strict=True))
        for one in usage
    }
