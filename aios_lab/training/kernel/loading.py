"""Data gets ready while its run begins: said in the run's log and in the cell, kept in its record."""

from __future__ import annotations

import threading
import time
from typing import Any

from aios_lab.training.data.source import FOLDER, Given, Source, Workshop, clear
from aios_lab.training.errors import CannotTrain, Stopped
from aios_lab.training.kernel.reporter import Reporter
from aios_lab.training.kernel.run import Run
from aios_lab.training.kernel.tracker import Tracker
from aios_lab.wire import RunData, RunUpdate

SHOW_EVERY = 0.5  # seconds between notes of how far it is
PRINT_EVERY = 5.0  # seconds between lines in the cell and the log


def load(given: Given, run: Run, client: Any, tracker: Tracker) -> Source:
    """Prepare a run's data, which may take as long as reading it once.

    Raises:
        CannotTrain: it cannot be read.
        Stopped: the run was to stop meanwhile.
    """
    loading = Loading(run, tracker)
    folder = run.folder / FOLDER
    try:
        loading.reporter.start()
        source = given.prepare(Workshop(folder, client, loading.say))
        loading.loaded(source)
    except BaseException as error:
        clear(run.folder)
        if isinstance(error, OSError):
            raise CannotTrain(f"The data cannot be kept in {folder}: {error.strerror or error}.") from error
        raise
    finally:
        loading.reporter.finish()
    return source


class Loading:
    """How far it is, for the cell and, by its reporter, for the run's record."""

    def __init__(self, run: Run, tracker: Tracker) -> None:
        self._run = run
        self._stopped = threading.Event()
        self.reporter = Reporter(tracker, run.id, lambda _order: self._stopped.set())
        self._shown = self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """How far the loading is. Raises Stopped once the run is to stop."""
        if self._stopped.is_set():
            raise Stopped("the run was stopped while its data was loaded")
        now = time.monotonic()
        if now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        lines = []
        if now - self._printed >= PRINT_EVERY:
            self._printed = now
            lines = [f"data: {text}"]
            print(*lines, flush=True)
        self._tell(note=f"Loading data: {text}", logs=lines)

    def loaded(self, source: Source) -> None:
        """What there is, for the record."""
        about, digest = source.describe(), source.digest()
        where = f"{about.kind}: {about.where}"
        data = RunData(name="data", digest=str(digest), source=where, rows=about.rows)
        columns = f", columns {', '.join(about.columns[:20])}" if about.columns else ""
        line = f"data: {about.rows:,} samples from {about.kind}, {about.where}{columns}"
        self._tell(note="", data=[data], logs=[line])

    def _tell(self, **news: Any) -> None:
        self._run.live.take(RunUpdate(**news))
        self.reporter.tell(**news)
