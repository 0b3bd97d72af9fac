"""What is known of the past: who asked when, for what, and how long it was held."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aios_lab.allocation.types import Demand, Resources

OWN_WEIGHT = 10  # so many records of its own count as much as those of everybody
# Whose records: a principal's, those of claims with the same stated duration, or everybody's.
Group = str | float | None

FEWEST = 10  # records below which nothing is said of arrivals


@dataclass(frozen=True, slots=True)
class Past:
    """A claim of the past: what it asked for, and when. Times in seconds since the epoch.

    ``started`` is None where it never held anything, ``ended`` where it still waits or holds; ``duration`` is
    how long its owner said that it would hold units.

    Raises:
        ValueError: a time is not finite, they do not follow each other, or the duration is not positive.
    """

    principal: str
    unit: Resources
    min: int
    max: int
    submitted: float
    started: float | None = None
    ended: float | None = None
    duration: float | None = None
    priority: int = 0
    preemptible: bool = True

    def __post_init__(self) -> None:
        times = [time for time in (self.submitted, self.started, self.ended) if time is not None]
        if not all(map(math.isfinite, times)) or times != sorted(times):
            raise ValueError(
                f"A past claim of {self.principal} was submitted at {self.submitted}, started at "
                f"{self.started} and ended at {self.ended}: give finite times that follow each other."
            )
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise ValueError(
                f"A past claim of {self.principal} has duration {self.duration}: "
                "give seconds above 0, or None."
            )

    def held(self, now: float) -> tuple[float, bool] | None:
        """Seconds that it held units until now, and whether that was all of it; None where it held none."""
        if self.started is None:
            return None
        if self.ended is None or self.ended > now:
            return max(0.0, now - self.started), False
        return self.ended - self.started, True


class Lifetimes:
    """A distribution of lengths, from those that ended and those that go on.

    The product-limit estimate (Kaplan and Meier, JASA 1958), so that what still lasts counts for what it has
    shown so far. Between two lengths it is taken to be even. One part in n + 1 is left beyond the longest of
    n, as it is for the next of n + 1 alike draws; there, what has lasted long is expected to last as long
    again: P(length > x) falls as 1/x.
    """

    def __init__(self, lengths: Iterable[tuple[float, bool]]) -> None:
        """``lengths``: how long each has lasted, and whether it has ended."""
        ordered = sorted(lengths, key=lambda one: (one[0], not one[1]))
        self.count = len(ordered)
        self.ended = sum(done for _, done in ordered)
        self._longest = ordered[-1][0] if ordered else 0.0
        self._lengths: list[float] = []
        self._below: list[float] = []  # the part of all that is at most as long
        left = 1.0
        for place, (length, done) in enumerate(ordered):
            if done:
                left *= 1 - 1 / (self.count + 1 - place)
                self._lengths.append(length)
                self._below.append(1 - left)

    def draw(self, age: float, part: float) -> float:
        """The length that ``part`` (0 to 1) of those stay below that have lasted ``age`` already."""
        known = self._part_below(age)
        wanted = known + part * (1 - known)
        place = bisect_left(self._below, wanted)
        if place == len(self._below):
            last = self._below[-1] if self._below else 0.0
            rest = (1 - wanted) / (1 - max(known, last))
            return max(age, self._longest) / max(rest, 1e-3)
        low, below = (self._lengths[place - 1], self._below[place - 1]) if place else (0.0, 0.0)
        high, above = self._lengths[place], self._below[place]
        return max(age, low + (high - low) * (wanted - below) / (above - below))

    def _part_below(self, age: float) -> float:
        place = bisect_left(self._lengths, age)
        if place == len(self._lengths):
            return self._below[-1] if self._below else 0.0
        low, below = (self._lengths[place - 1], self._below[place - 1]) if place else (0.0, 0.0)
        high, above = self._lengths[place], self._below[place]
        return below + (above - below) * (age - low) / (high - low) if high > low else below


class Holdings:
    """How long claims hold their units, as the past up to ``now`` tells; ``draw`` samples it."""

    def __init__(self, past: Sequence[Past], now: float) -> None:
        self.past = tuple(sorted((one for one in past if one.submitted <= now), key=_order))
        self._lengths: dict[Group, list[tuple[float, bool]]] = {}
        self._ratios: dict[Group, list[tuple[float, bool]]] = {}  # of what was held to what was stated
        for one in self.past:
            if (held := one.held(now)) is None:
                continue
            length, done = held
            whose: tuple[Group, ...] = (None, one.principal)
            for group in whose:
                self._lengths.setdefault(group, []).append(held)
            if one.duration is not None:
                for group in (*whose, one.duration):
                    self._ratios.setdefault(group, []).append((length / one.duration, done))
        self._made: dict[tuple[bool, Group], Lifetimes] = {}

    @property
    def ended(self) -> int:
        """How many past holdings are known from their beginning to their end."""
        return self._lifetimes(None, stated=False).ended

    def knows(self, demand: Demand) -> bool:
        """Whether anything is known of how long this claim holds."""
        return bool(demand.duration) or self.ended > 0

    def draw(self, demand: Demand, age: float, part: float, whose: float) -> float:
        """Seconds that a claim holds its units in all, given that it has held them for ``age``.

        ``part`` (0 to 1) says where in the distribution; ``whose`` (0 to 1) chooses between the records of
        the claim's own principal and those of everybody, more of its own the more there are. What an owner
        states is corrected by how much of it was held before: by those who stated the same, since people
        give round figures, then by the owner, then by everybody. Infinite where nothing is known.
        """
        if demand.duration:  # no seconds at all are no statement
            age /= demand.duration
            ratios = self._chosen((demand.duration, demand.principal), whose, stated=True)
            if ratios.ended:
                return ratios.draw(age, part) * demand.duration
            return demand.duration * (1.0 if age < 1 else age / max(1 - part, 1e-3))
        lengths = self._chosen((demand.principal,), whose, stated=False)
        return lengths.draw(age, part) if lengths.ended else math.inf

    def _chosen(self, groups: tuple[Group, ...], whose: float, stated: bool) -> Lifetimes:
        """The first of the groups that the number falls to; what falls to none is everybody's."""
        for group in groups:
            lifetimes = self._lifetimes(group, stated)
            own = lifetimes.ended / (lifetimes.ended + OWN_WEIGHT)
            if whose < own:
                return lifetimes
            whose = (whose - own) / (1 - own)
        return self._lifetimes(None, stated)

    def _lifetimes(self, group: Group, stated: bool) -> Lifetimes:
        if (stated, group) not in self._made:
            records = self._ratios if stated else self._lengths
            self._made[stated, group] = Lifetimes(records.get(group, ()))
        return self._made[stated, group]


def _order(one: Past) -> tuple[float, str, int, int]:
    return one.submitted, one.principal, one.min, one.max
