"""Tells the tracker what the kernel knows of a run, on a thread of its own: a slow one holds up nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.training.kernel.tracker import Tracker, TrackerUnavailable
from aios_lab.training.news import News, update_of

log = logging.getLogger("aios_lab.training")

INTERVAL = 0.5  # seconds between updates; each is also how the tracker's orders are heard
FINAL_WAIT = 5.0  # seconds to tell the end to a tracker that does not answer


class Reporter(threading.Thread):
    """Merges news until the next update; what could not be told comes with a later one. ``on_order`` hears a
    changed order: 'stop' or 'kill'."""

    def __init__(self, tracker: Tracker, run_id: str, on_order: Callable[[str], None]) -> None:
        super().__init__(name=f"aios-report-{run_id}", daemon=True)
        self._tracker = tracker
        self._run_id = run_id
        self._on_order = on_order
        self._news = News()
        self._finished = threading.Event()
        self._order = "go"

    def tell(self, **news: Any) -> None:
        """Fields of the next update, as in wire.RunUpdate."""
        self._news.tell(**news)

    def finish(self) -> None:
        """Tell what is left and end; waits at most FINAL_WAIT seconds."""
        self._finished.set()
        if self.ident is None:  # its thread could not be started: nobody else tells the end
            self._tell_end()
        else:
            self.join(FINAL_WAIT)

    def run(self) -> None:
        while not self._finished.wait(INTERVAL):
            self._update()
        self._tell_end()

    def _tell_end(self) -> None:
        for _ in range(3):
            while self._update():
                if not self._news.more:
                    return

    def _update(self) -> bool:
        """One update, also without news: it is the run's heartbeat. False when it should come again."""
        try:
            return self._exchange(self._news.take())
        except Exception:  # news that nobody can take must not silence the run
            log.exception("some news of run %s was lost", self._run_id)
            return False

    def _exchange(self, taken: Mapping[str, Any]) -> bool:
        try:
            answer = self._tracker.update(self._run_id, update_of(taken))
        except (TrackerUnavailable, OSError):
            self._news.put_back(taken)
            return False
        except Exception:
            # what else there was may be the cause; the run's state must be told
            self._news.put_back({name: value for name, value in taken.items() if name in ("state", "error")})
            raise
        if answer.order not in ("go", self._order):
            self._order = answer.order
            self._on_order(answer.order)
        return True
