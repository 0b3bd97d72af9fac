"""A run as the server holds it: its record, what is derived from its metrics, and how others see it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from aios_lab.training.progress import Progress, Series, thin
from aios_lab.training.record.files import Record, RunFolder
from aios_lab.training.untold import Message
from aios_lab.wire import Point, Run, RunMetric, RunUpdate

log = logging.getLogger("aios_lab.training")

LOG_LINES = 200
LISTED_POINTS = 30  # points a series of an ended run has in a list
PUBLIC = {"id", "slice_id", "user", "state", "strategy", "world_size", "created", "started", "ended"}


class Entry:
    """A run in memory. ``silent`` counts the seconds since its leader was last heard of, ``count`` its
    metrics."""

    def __init__(self, record: Record, folder: RunFolder) -> None:
        self.record = record
        self.folder = folder
        self.silent = 0.0
        self.count = 0
        self.progress = Progress(record.run)
        self._listed: Run | None = None

    @property
    def run(self) -> Run:
        return self.record.run

    @property
    def living(self) -> bool:
        return not self.run.state.ended

    def new_of(self, message: Message) -> RunUpdate:
        """What a message tells that has not been heard yet."""
        update = message.update
        known = max(0, self.count - message.first)
        self.count = max(self.count, message.first + len(update.metrics))
        if message.number <= self.record.heard:
            return RunUpdate(metrics=update.metrics[known:])
        self.record.heard = message.number
        return update.model_copy(update={"metrics": update.metrics[known:]})

    def add(self, metrics: Iterable[RunMetric]) -> None:
        for metric in metrics:
            if odd := self.progress.add(metric):
                self.log(odd)

    def log(self, lines: list[str]) -> None:
        self.run.log_tail = [*self.run.log_tail, *lines][-LOG_LINES:]

    def text(self) -> str:
        """What ``run.json`` is to hold: the series too once the run has ended, so that no start needs to
        read all metrics again."""
        self._listed = None
        if self.living:
            return self.record.model_dump_json(exclude={"run": {"series"}})
        run = self.run.model_copy(update={"series": self.progress.points()})
        return self.record.model_copy(update={"run": run}).model_dump_json()

    def view(self, mine: bool = True) -> Run:
        if not mine:
            return Run(**self.run.model_dump(include=PUBLIC), name="", mine=False)
        return self._copy(self.progress.points())

    def listed(self) -> Run:
        """As ``view``, but abridged once it has ended: each report of one run sends the list of all to every
        open panel. Nothing changes then, so it is kept."""
        if self.living:
            return self.view()
        if self._listed is None:
            series = {key: thin(one, LISTED_POINTS) for key, one in self.progress.points().items()}
            self._listed = self._copy(series).model_copy(update={"log_tail": [], "abridged": True})
        return self._listed

    def _copy(self, series: dict[str, list[Point]]) -> Run:
        own = {"metrics": dict(self.run.metrics), "log_tail": list(self.run.log_tail)}
        return self.run.model_copy(update={**own, "mine": True, "series": series})


class History(NamedTuple):
    """What a start finds: the runs to hold in memory, and folders that only MLflow still has to take in."""

    entries: list[Entry]
    untracked: list[RunFolder]
    replayed: set[str]


def history(runs_dir: Path, keep: int) -> History:
    """The ``keep`` runs that changed last, and all that were alive, from their records alone.

    Metrics are read only where a record has no series: of runs that were alive when their server died.
    """
    runs_dir.mkdir(parents=True, exist_ok=True)
    found = History([], [], set())
    for place, folder in enumerate(_newest_first(runs_dir)):
        try:
            _find(folder, place < keep, found)
        except Exception:  # the user's own code can write there, and must not keep the others from their runs
            log.exception("run %s cannot be read", folder.run_id)
    return found


def _find(folder: RunFolder, recent: bool, found: History) -> None:
    cursor = folder.cursor()
    if not recent and cursor.ended:
        return
    record = folder.read()
    if record is None:
        return
    if recent or not record.run.state.ended:
        record.run.mlflow_run_id = record.run.mlflow_run_id or cursor.mlflow_run_id or None
        entry = Entry(record, folder)
        if _restore(entry):
            found.replayed.add(entry.run.id)
        found.entries.append(entry)
    if not cursor.ended:
        found.untracked.append(folder)


def restored(folder: RunFolder) -> Entry | None:
    """One run out of its folder; None where that holds no whole run."""
    record = folder.read()
    if record is None:
        return None
    entry = Entry(record, folder)
    _restore(entry)
    return entry


def _newest_first(runs_dir: Path) -> list[RunFolder]:
    changed = []
    for path in runs_dir.iterdir():
        try:
            changed.append(((path / "run.json").stat().st_mtime, path))
        except OSError:  # no run, or not to be read
            continue
    return [RunFolder(path) for _, path in sorted(changed, reverse=True)]


def _metrics(folder: RunFolder) -> Iterator[RunMetric]:
    before, offset = -1, 0
    while offset != before:
        try:
            before, (found, offset) = offset, folder.metrics(offset)
        except OSError as error:  # a run whose metrics cannot be read is still one
            log.warning("the metrics of run %s cannot be read: %s", folder.run_id, error)
            return
        yield from found


def _restore(entry: Entry) -> bool:
    """Fill in the series; True where that took all metrics."""
    run = entry.run
    if run.series:
        entry.progress.series = {key: Series.of(points) for key, points in run.series.items()}
        run.series = {}
        return False
    for metric in _metrics(entry.folder):
        entry.progress.add(metric)
        entry.count += 1
    return bool(entry.progress.series)
