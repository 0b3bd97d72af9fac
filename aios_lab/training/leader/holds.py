"""All ranks of a world are asked to stop at one step: to save and go on, or to save and end there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aios_lab.training.leader.worlds import Act, Send, World

SAVE_EVERY = 30.0  # seconds from one checkpoint to the next, where the user gave no number of steps
SAVE_LONGEST = 300.0  # seconds after which a checkpoint that nobody hears of is given up
PAUSE_LAG = 10.0  # seconds by which one rank may pause later than another

Why = Literal["save", "pause"]


@dataclass
class Hold:
    """One such request."""

    number: int
    why: Why
    since: float
    held: set[int] = field(default_factory=set)
    settled: bool = False  # all hold, and are told where
    paused: float | None = None  # when the first rank had

    def hangs(self, now: float) -> bool:
        """Whether ranks should have paused by now, as others have."""
        return self.paused is not None and now > self.paused + PAUSE_LAG


class Holds:
    """One at a time; and when the next one is due by the clock."""

    def __init__(self, by_clock: bool) -> None:
        """``by_clock``: save every ``SAVE_EVERY`` seconds."""
        self.count = 0
        self.present: Hold | None = None
        self._by_clock = by_clock
        self._saved = 0.0

    @property
    def pausing(self) -> bool:
        """Whether all ranks know where to pause, and none has."""
        return self.present is not None and self.present.settled and self.present.paused is None

    def begin(self, world: World, why: Why, now: float) -> list[Act]:
        self.count += 1
        self.present = Hold(self.count, why, now)
        return [Send(world.attempt, "hold", {"number": self.count, "why": why})]

    def end(self) -> None:
        self.present = None

    def on_held(self, world: World, rank: int, number: int) -> list[Act]:
        """A rank knows of it; once all do, rank 0 is to settle at which step."""
        hold = self.present
        if hold is None or hold.number != number:
            return []
        hold.held.add(rank)
        if len(hold.held) < len(world.places):
            return []
        hold.settled = True
        return [Send(world.attempt, "settle", {"number": number, "why": hold.why}, rank=0)]

    def on_saved(self, now: float) -> bool:
        """What there is to save is saved, or could not be; whether that was what ranks were held for."""
        self._saved = now
        return self._end_save()

    def give_way(self, now: float) -> None:
        """Something more urgent than a save is due: one that not all ranks know of yet is left for later."""
        if self.present is not None and not self.present.settled and self._end_save():
            self._saved = now

    def give_up_save(self, now: float) -> bool:
        """Whether ranks were held only to save, and nobody has heard of it for too long."""
        hold = self.present
        return hold is not None and now > hold.since + SAVE_LONGEST and self._end_save()

    def save_due(self, now: float) -> bool:
        return self._by_clock and self.present is None and now >= self._saved + SAVE_EVERY

    def _end_save(self) -> bool:
        saving = self.present is not None and self.present.why == "save"
        if saving:
            self.present = None
        return saving
