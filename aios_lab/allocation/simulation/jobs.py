"""Jobs as traces tell of them, and as a simulation has finished them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aios_lab.allocation.types import Resources


@dataclass(frozen=True, slots=True)
class Job:
    """``count`` units of one shape, all at once, for ``run`` seconds.

    A rigid job of a supercomputer is ``count`` processors of 1000 milli-CPU; a GPU pod is one unit of CPU,
    memory and a part of a GPU or some GPUs; a row of a Philly-style log is ``count`` whole GPUs. ``submit``
    is in seconds since the trace began, ``requested`` is the user's estimate of the run time in seconds; None
    is what the trace does not know. ``gpu_models`` are those that would do; none named, any would.

    Where jobs may shrink and grow, it starts with ``least`` units or more, and unless it is ``preemptible``
    none of them is taken away. Among its user's jobs those of higher ``priority`` go first.

    Raises:
        ValueError: a time is negative or not finite, ``count`` is not positive, ``least`` is not from 1 to
            ``count``, or an amount is negative.
    """

    id: int
    submit: float
    run: float | None
    unit: Resources
    count: int = 1
    requested: float | None = None
    user: str = ""
    group: str = ""
    queue: str = ""
    gpu_models: tuple[str, ...] = ()
    least: int = 1
    preemptible: bool = True
    priority: int = 0

    def __post_init__(self) -> None:
        for name, seconds in (("submit", self.submit), ("run", self.run), ("requested", self.requested)):
            if seconds is not None and not 0 <= seconds < math.inf:
                raise ValueError(f"Job {self.id}: {name} is {seconds}; give seconds, 0 or more.")
        if self.count < 1:
            raise ValueError(f"Job {self.id}: count is {self.count}; give 1 or more.")
        if not 1 <= self.least <= self.count:
            raise ValueError(f"Job {self.id}: least is {self.least}; give 1 to {self.count}, its count.")
        for resource, amount in self.unit.items():
            if amount < 0:
                raise ValueError(f"Job {self.id}: {resource} is {amount}; give 0 or more.")

    @property
    def need(self) -> Resources:
        """All units together."""
        return self.unit * self.count

    @property
    def estimate(self) -> float | None:
        """What a scheduler may plan with: the requested time, else the true one; in seconds."""
        return self.run if self.requested is None else self.requested


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job that held ``need``, of all its units together, from ``start`` to ``end``; times in seconds.

    One that had fewer units for a while says in ``levels`` from when on it held which part of them, 0 to 1.

    Raises:
        ValueError: a time is not finite, the times are not in their order, an amount is negative, or a level
            is not from 0 to 1.
    """

    id: int
    submit: float
    start: float
    end: float
    need: Resources
    user: str = ""
    levels: tuple[tuple[float, float], ...] = ()

    @property
    def spans(self) -> list[tuple[float, float, float]]:
        """From when, until when, and which part of its units it held."""
        levels = self.levels or ((self.start, 1.0),)
        ends = [*(since for since, _ in levels[1:]), self.end]
        return [(since, until, part) for (since, part), until in zip(levels, ends, strict=True)]

    @property
    def alone(self) -> float:
        """Seconds that it takes with all its units."""
        return sum((until - since) * part for since, until, part in self.spans)

    def __post_init__(self) -> None:
        if not -math.inf < self.submit <= self.start <= self.end < math.inf:
            raise ValueError(
                f"Job {self.id}: submit {self.submit}, start {self.start} and end {self.end} "
                "have to be finite and to follow each other."
            )
        for since, until, part in self.spans:
            if not (self.start <= since <= until and 0 <= part <= 1):
                raise ValueError(
                    f"Job {self.id}: level {part} from {since} on; give parts of 1, by rising times."
                )
        for resource, amount in self.need.items():
            if amount < 0:
                raise ValueError(f"Job {self.id}: {resource} is {amount}; give 0 or more.")
