"""What a rank has read, counted, and told in its log while it goes through the data for the first time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from aios_lab.training.data.source import size

TELL_EVERY = 10.0  # seconds between lines of progress


@dataclass(frozen=True, slots=True)
class Count:
    """Samples handed out; bytes and parts read for them; seconds that the training waited for them."""

    samples: int = 0
    bytes: int = 0
    parts: int = 0
    waited: float = 0.0


class Reading:
    """Counts, and prints how far a rank is, until it has read its share of ``total`` samples once."""

    def __init__(self, total: int, world: int) -> None:
        self._share = -(-total // world)
        self._total = total
        self._lock = threading.Lock()
        self._told = time.monotonic()
        self._done = not total
        self.count = Count()

    def add(self, samples: int = 0, read: int = 0, parts: int = 0, waited: float = 0.0) -> None:
        with self._lock:
            old = self.count
            self.count = Count(
                old.samples + samples, old.bytes + read, old.parts + parts, old.waited + waited
            )
            line = self._line()
        if line:
            print(line, flush=True)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def _line(self) -> str:
        count, now = self.count, time.monotonic()
        if self._done:
            return ""
        self._done = count.samples >= self._share
        if not self._done and now - self._told < TELL_EVERY:
            return ""
        self._told = now
        state = "read its share once" if self._done else "reading"
        parts = f" in {count.parts:,} parts" if count.parts else ""
        waited = f", waited {count.waited:.1f} s for it" if count.waited >= 0.05 else ""
        return (
            f"data: {state}: {count.samples:,} of {self._total:,} samples, {size(count.bytes)}{parts}{waited}"
        )
