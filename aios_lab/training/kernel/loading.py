"""Data gets ready while its run begins: said in the run's log and in the cell, kept in its record."""

from __future__ import annotations

import time
from typing import Any

from aios_lab.training.data.source import FOLDER, Given, Source, Workshop, clear
from aios_lab.training.errors import CannotTrain, Stopped
from aios_lab.training.kernel.run import Run
from aios_lab.training.kernel.tracker import Tracker, TrackerUnavailable
from aios_lab.wire import RunData, RunUpdate

TELL_EVERY = 0.5  # seconds between notes to the tracker
PRINT_EVERY = 5.0  # seconds between lines in the cell and the log


def load(given: Given, run: Run, client: Any, tracker: Tracker) -> Source:
    """Prepare a run's data, which may take as long as reading it once.

    Raises:
        CannotTrain: it cannot be read.
        Stopped: the run was to stop meanwhile.
    """
    teller = _Teller(run, tracker)
    folder = run.folder / FOLDER
    try:
        source = given.prepare(Workshop(folder, client, teller.say))
    except BaseException as error:
        clear(run.folder)
        if isinstance(error, OSError):
            raise CannotTrain(f"The data cannot be kept in {folder}: {error.strerror or error}.") from error
        raise
    teller.told(source)
    return source


class _Teller:
    def __init__(self, run: Run, tracker: Tracker) -> None:
        self._run, self._tracker = run, tracker
        self._noted = self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """How far the loading is. Raises Stopped once the run is to stop."""
        now = time.monotonic()
        if now - self._noted < TELL_EVERY:
            return
        self._noted = now
        lines = []
        if now - self._printed >= PRINT_EVERY:
            self._printed = now
            lines = [f"data: {text}"]
        self._tell(RunUpdate(note=f"Loading data: {text}", logs=lines))

    def told(self, source: Source) -> None:
        """What there is, for the record."""
        about, digest = source.describe(), source.digest()
        where = f"{about.kind}: {about.where}"
        data = RunData(name="data", digest=str(digest), source=where, rows=about.rows)
        columns = f", columns {', '.join(about.columns[:20])}" if about.columns else ""
        line = f"data: {about.rows:,} samples from {about.kind}, {about.where}{columns}"
        self._tell(RunUpdate(note="", data=[data], logs=[line]))

    def _tell(self, update: RunUpdate) -> None:
        run = self._run
        run.live.take(update)
        if update.logs and update.data is None:
            print(*update.logs, sep="\n", flush=True)
        try:
            order = self._tracker.update(run.id, update).order
        except TrackerUnavailable:  # it is told again with the next
            return
        if order != "go":
            raise Stopped("the run was stopped while its data was loaded")
