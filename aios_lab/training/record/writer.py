"""The one thread that writes run folders: a disk that is slow holds up neither the server nor a kernel."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aios_lab.training.record.files import METRICS, USAGE, RunFolder
from aios_lab.wire import RankUsage, RunMetric

log = logging.getLogger("aios_lab.training")

LONGEST_PAUSE = 60.0  # seconds between two attempts on a disk that refuses


@dataclass
class _Pending:
    """What a run's folder lacks: lines to append, then the record to replace."""

    folder: RunFolder
    metrics: list[RunMetric] = field(default_factory=list)
    usage: list[RankUsage] = field(default_factory=list)
    text: str | None = None
    kept: list[Callable[[], object]] = field(default_factory=list)

    def before(self, newer: _Pending) -> _Pending:
        text = self.text if newer.text is None else newer.text
        return _Pending(
            newer.folder, self.metrics + newer.metrics, self.usage + newer.usage, text, self.kept + newer.kept
        )


class FolderWriter:
    """Writes in order for each run; a run whose disk refuses is tried again, ever less often.

    Args:
        written: called in the writer's thread with each folder that was brought up to date.
        pause: seconds from a first refusal to the next attempt; it doubles up to a minute.
    """

    def __init__(self, written: Callable[[RunFolder], None], pause: float = 1.0) -> None:
        self._written = written
        self._first_pause = pause
        self._pending: dict[str, _Pending] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="aios-runs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(
        self,
        folder: RunFolder,
        metrics: Sequence[RunMetric] = (),
        usage: Sequence[RankUsage] = (),
        text: str | None = None,
        kept: Callable[[], object] | None = None,
    ) -> None:
        """Append ``metrics`` and ``usage`` and then, where there is one, make ``text`` the record. Returns at
        once.

        ``kept`` is called in the writer's thread when all that was submitted for this run is on the disk.
        """
        with self._lock:
            self._add(_Pending(folder, list(metrics), list(usage), text, [kept] if kept else []))
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Write what is left, once more also where the disk refused; waits at most ``timeout`` seconds."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _add(self, newer: _Pending) -> None:
        run_id = newer.folder.run_id
        older = self._pending.get(run_id)
        self._pending[run_id] = newer if older is None else older.before(newer)

    def _work(self) -> None:
        while True:
            self._wake.wait(self._pause())
            self._wake.clear()
            closing = self._closing
            for pending in self._take(closing):
                self._write(pending)
            if closing:
                return

    def _pause(self) -> float | None:
        """Seconds until the next run is due; None where nothing waits."""
        with self._lock:
            due = [self._due.get(run_id, 0.0) for run_id in self._pending]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _take(self, everything: bool) -> list[_Pending]:
        now = time.monotonic()
        with self._lock:
            ready = [one for one in self._pending if everything or self._due.get(one, 0.0) <= now]
            return [self._pending.pop(run_id) for run_id in ready]

    def _write(self, pending: _Pending) -> None:
        folder, new = pending.folder, bool(pending.metrics or pending.usage or pending.text)
        try:
            if pending.metrics:
                folder.append(METRICS, pending.metrics)
                pending.metrics = []
            if pending.usage:
                folder.append(USAGE, pending.usage)
                pending.usage = []
            if pending.text is not None:
                folder.write_text(pending.text)
        except OSError as error:
            self._put_back(pending, error)
            return
        self._pauses.pop(folder.run_id, None)
        self._due.pop(folder.run_id, None)
        for kept in pending.kept:
            kept()
        if new:
            self._written(folder)

    def _put_back(self, pending: _Pending, error: OSError) -> None:
        run_id = pending.folder.run_id
        last = self._pauses.get(run_id)
        if last is None:
            log.warning("Run %s waits for the disk under %s: %s", run_id, pending.folder.path, error)
        pause = self._first_pause if last is None else min(LONGEST_PAUSE, 2 * last)
        with self._lock:
            newer = self._pending.get(run_id)
            self._pending[run_id] = pending if newer is None else pending.before(newer)
            self._pauses[run_id], self._due[run_id] = pause, time.monotonic() + pause
