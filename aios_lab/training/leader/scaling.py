"""How many ranks a run has, and where: a small policy apart from how it gets there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

GROW_AFTER = 0.3  # seconds in which workers that come together are taken together


@dataclass(frozen=True, slots=True)
class Scaling:
    """A run takes the workers it can get, from ``least`` to ``most`` (None: any number)."""

    least: int
    most: int | None = None

    def wanted(self, now: tuple[str, ...], workers: Collection[str]) -> tuple[str, ...] | None:
        """Where the ranks should be: those of ``now`` that can stay, and more where there are more workers.
        None while there are too few."""
        stay = [worker for worker in now if worker in workers]
        places = (*stay, *sorted({*workers} - {*stay}))[: self.most]
        if len(places) < max(1, self.least):
            return None
        return tuple(sorted(places, key=_host))  # ranks of one host together


def _host(address: str) -> str:
    return address.rpartition(":")[0]
