"""After which ends of its ranks a run goes on: a small policy apart from how it does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aios_lab.training.failures import is_consequence
from aios_lab.training.spec import End

CRASHES = 3  # in a row, without a new checkpoint between


def is_crash(end: End) -> bool:
    """Whether a rank was ended from outside: its worker is gone, a signal killed it, it could not start."""
    unsaid = end.outcome == "failed" and not end.traceback and (end.code is None or end.code < 0)
    return end.outcome == "lost" or unsaid


@dataclass
class Retries:
    """What users' functions raise is never tried again; crashes are, a few times; preemptions, always."""

    crashes: int = 0

    def goes_on(self, ends: Collection[End], announced: bool) -> bool:
        """Whether a world that ended so is followed by another. ``announced``: its loss was no surprise."""
        bad = [end for end in ends if end.outcome in ("failed", "lost")]
        if not any(is_crash(end) for end in bad):
            return not bad and any(end.outcome == "paused" for end in ends)
        if not all(is_crash(end) or is_consequence(end) for end in bad):
            return False
        self.crashes += not announced
        return self.crashes <= CRASHES

    def progress(self) -> None:
        """A new checkpoint stands."""
        self.crashes = 0
