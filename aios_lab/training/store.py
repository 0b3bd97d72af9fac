"""The server's record of runs: what kernels report, what users want, and the history after a restart."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from aios_lab.training.store_files import Record, RunFolder, Series, thin
from aios_lab.training.store_mlflow import MlflowWriter
from aios_lab.wire import Point, Run, RunMetric, RunOrder, RunRequest, RunState, RunUpdate

log = logging.getLogger("aios_lab.training")

LIVING = {RunState.PENDING, RunState.RUNNING, RunState.STOPPING}
LOG_LINES = 200
RETRY = 5.0  # seconds until a disk that refused is tried again
LISTED = 100  # runs that list() gives
LISTED_POINTS = 60  # points a series of an ended run has in list()

Callback = Callable[[str, bool], None]


class RunRefused(Exception):
    """A request about a run that cannot be granted; becomes a 4xx answer with a ``wire.Problem``."""

    def __init__(self, status: int, message: str, reason: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.message, self.reason, self.hint = status, message, reason, hint


class _Entry:
    """A run in memory: its record, its folder and what is derived from its metrics."""

    def __init__(self, record: Record, folder: RunFolder) -> None:
        self.record = record
        self.folder = folder
        self.series: dict[str, Series] = {}
        self.unwritten: list[RunMetric] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=20)

    @property
    def run(self) -> Run:
        return self.record.run

    @property
    def living(self) -> bool:
        return self.run.state in LIVING

    def add(self, metric: RunMetric) -> None:
        run = self.run
        run.step = max(run.step, metric.step)
        run.epoch = metric.epoch if metric.epoch is not None else run.epoch
        for key, value in metric.values.items():
            if math.isfinite(value):
                run.metrics[key] = value
                self.series.setdefault(key, Series()).add(
                    Point(step=metric.step, time=metric.time, value=value)
                )
            else:  # JSON has no such number, and a plot no place for it
                run.metrics.pop(key, None)
                self.log([f"step {metric.step}: {key} is {value}"])
        self._recent.append((metric.step, metric.time))
        self._estimate()

    def _estimate(self) -> None:
        run, (first, began), (last, now) = self.run, self._recent[0], self._recent[-1]
        if last > first and now > began:
            run.throughput = (last - first) / (now - began)
            if run.total_steps is not None:
                run.eta = max(0, run.total_steps - run.step) / run.throughput

    def log(self, lines: list[str]) -> None:
        self.run.log_tail = [*self.run.log_tail, *lines][-LOG_LINES:]

    def view(self, mine: bool, points: int | None = None) -> Run:
        run = self.run
        if not mine:
            shown = {
                "id",
                "slice_id",
                "user",
                "state",
                "strategy",
                "world_size",
                "created",
                "started",
                "ended",
            }
            return Run(**run.model_dump(include=shown), name="", mine=False)
        series = {key: one.points() for key, one in self.series.items()}
        if points is not None:
            series = {key: thin(one, points) for key, one in series.items()}
        return run.model_copy(update={"mine": True, "series": series}, deep=True)


class RunStore:
    """All runs of this server, kept under ``runs_dir`` and written to the MLflow at ``mlflow_uri``.

    Its methods belong to one event loop. They raise RunRefused with what to answer.
    """

    def __init__(
        self,
        runs_dir: str | Path,
        mlflow_uri: str,
        *,
        artifact_root: str | None = None,
        mlflow_timeout: float = 3.0,
        mlflow_interval: float = 1.0,
    ) -> None:
        self.runs_dir = Path(runs_dir)
        self._entries: dict[str, _Entry] = {}
        self._callbacks: list[Callback] = []
        self._timeout = mlflow_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mlflow = MlflowWriter(
            mlflow_uri, self._tracked_in_thread, artifact_root=artifact_root, interval=mlflow_interval
        )

    async def start(self) -> None:
        """Read the history; runs that were alive in a server that died become failed."""
        self._loop = asyncio.get_running_loop()
        for entry in await asyncio.to_thread(_load_all, self.runs_dir):
            self._entries[entry.run.id] = entry
            if entry.living:
                self._end(entry, RunState.FAILED, "The server restarted while this run was going on.")
            elif not entry.folder.cursor().ended:
                self._mlflow.submit(entry.folder)
        self._mlflow.start()

    async def close(self, timeout: float = 10.0) -> None:
        """End what still lives. What MLflow misses for ``timeout`` seconds it gets after the next start."""
        for entry in [entry for entry in self._entries.values() if entry.living]:
            self._end(entry, RunState.FAILED, "The server was stopped while this run was going on.")
        self._loop = None
        await asyncio.to_thread(self._mlflow.close, timeout)

    @property
    def problem(self) -> str:
        """Why MLflow was not written at the last attempt; empty when all is well."""
        return self._mlflow.problem

    async def begin(self, request: RunRequest, slice_id: str, user: str) -> Run:
        """Record a new run. Refused with 409 where MLflow does not answer or the disk cannot take it."""
        await self._check_mlflow()
        run = Run(
            id=f"r-{secrets.token_hex(5)}",
            name=request.name,
            slice_id=slice_id,
            user=user,
            mine=True,
            state=RunState.PENDING,
            strategy=request.strategy,
            world_size=request.world_size,
            created=time.time(),
            total_steps=request.total_steps,
            total_epochs=request.total_epochs,
        )
        entry = _Entry(Record(run=run, request=request), RunFolder(self.runs_dir / run.id))
        try:
            await asyncio.to_thread(entry.folder.create)
            await asyncio.to_thread(entry.folder.write, entry.record)
        except OSError as error:
            raise RunRefused(
                409,
                f"The run cannot be recorded in {self.runs_dir}: {error.strerror or error}.",
                "runs_folder",
                "Free some space or mend the folder's permissions, then train again.",
            ) from error
        self._entries[run.id] = entry
        self._mlflow.submit(entry.folder)
        self._notify(run.id, True)
        return entry.view(mine=True)

    async def _check_mlflow(self) -> None:
        try:
            await self._mlflow.check(self._timeout)
        except OSError as error:
            raise RunRefused(
                409,
                f"MLflow at {self._mlflow.uri} does not answer, so the run would not be tracked: {error}.",
                "mlflow_unreachable",
                "Start that MLflow server, or set AIOSLab.mlflow_uri to one that answers "
                "(left out, it is a SQLite file of this server).",
            ) from error

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        """Take in what the kernel reports; the answer says whether the run should go on."""
        entry = self._entry(run_id)
        before = entry.run.state
        if update.model is not None:
            self._set_model(entry, update.model)
        for field in ("total_steps", "total_epochs"):
            if getattr(update, field) is not None:
                setattr(entry.run, field, getattr(update, field))
        for metric in update.metrics:
            entry.add(metric)
        entry.log(update.logs)
        if update.error is not None and entry.living:
            entry.run.error = update.error
        entry.unwritten += update.metrics
        self._move(entry, update.state)
        changed = entry.run.state is not before
        self._save(entry, whole=changed or update.model is not None or update.error is not None)
        self._notify(run_id, changed)
        return RunOrder(order=entry.record.order)

    def _move(self, entry: _Entry, state: RunState | None) -> None:
        run = entry.run
        if state is None or not entry.living:
            return
        if state is RunState.RUNNING and run.started is None:
            run.started = time.time()
        if state not in LIVING:
            run.ended, run.eta = time.time(), None
        elif run.state is RunState.STOPPING or state is RunState.PENDING:
            return
        run.state = state

    def stop(self, run_id: str, kill: bool = False) -> Run:
        """Ask a run to stop with a partial result, or with ``kill`` at once. An ended one stays as it is."""
        entry = self._entry(run_id)
        if entry.living:
            order: Literal["stop", "kill"] = "kill" if kill or entry.record.order == "kill" else "stop"
            changed = entry.run.state is not RunState.STOPPING
            entry.run.state, entry.record.order = RunState.STOPPING, order
            self._save(entry)
            self._notify(run_id, changed)
        return entry.view(mine=True)

    def end_of_slice(self, slice_id: str, why: str) -> None:
        """The slice is gone, and with it what ran there: its living runs become failed."""
        for entry in self._entries.values():
            if entry.living and entry.run.slice_id == slice_id:
                self._end(entry, RunState.FAILED, why)

    def get(self, run_id: str, user: str | None = None) -> Run:
        """The run as its owner sees it, or as ``user`` may see it. Refused with 404 where it is unknown."""
        entry = self._entry(run_id)
        return entry.view(mine=user is None or entry.run.user == user)

    def model_folder(self, run_id: str) -> Path:
        """The folder of the model bundle that the run saved. Refused with 409 where it saved none."""
        entry = self._entry(run_id)
        if entry.record.model is None:
            raise RunRefused(
                409,
                f"The run {entry.run.name!r} saved no model.",
                "no_model",
                "Call ctx.save_model(model, …) in the train function, then train again.",
            )
        return Path(entry.record.model)

    def subscribe(self, callback: Callback) -> None:
        """Call ``callback(run_id, state_changed)`` on the event loop after each change of a run."""
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callback) -> None:
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def _notify(self, run_id: str, state_changed: bool) -> None:
        for callback in list(self._callbacks):
            callback(run_id, state_changed)

    def _entry(self, run_id: str) -> _Entry:
        entry = self._entries.get(run_id)
        if entry is None:
            raise RunRefused(
                404,
                f"There is no run {run_id!r}.",
                "unknown_run",
                "See %aios or the panel for the runs there are.",
            )
        return entry

    def _set_model(self, entry: _Entry, folder: str) -> None:
        path = Path(folder).resolve()
        # The server reads this folder with its own rights: it must be one that this run may hand over.
        if not path.is_relative_to(entry.folder.path.resolve()) or not path.is_dir():
            raise RunRefused(
                400,
                f"The model folder {folder!r} is not a folder of run {entry.run.id}.",
                "bad_model_folder",
                f"Save the model under {entry.folder.path}.",
            )
        entry.record.model, entry.run.has_model = str(path), True

    def _save(self, entry: _Entry, whole: bool = True) -> None:
        """Bring the folder level with the entry; where the disk refuses, try again until it does not."""
        try:
            if entry.unwritten:
                entry.folder.append(entry.unwritten)
                entry.unwritten = []
            if whole:
                entry.folder.write(entry.record)
        except OSError as error:
            log.warning("Run %s waits for the disk under %s: %s", entry.run.id, entry.folder.path, error)
            if self._loop is not None:
                self._loop.call_later(RETRY, self._save, entry)
        self._mlflow.submit(entry.folder)

    def _end(self, entry: _Entry, state: RunState, error: str) -> None:
        entry.run.error, entry.record.order = error, "kill"
        self._move(entry, state)
        self._save(entry)
        self._notify(entry.run.id, True)

    def _tracked_in_thread(self, run_id: str, mlflow_run_id: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tracked, run_id, mlflow_run_id)

    def _tracked(self, run_id: str, mlflow_run_id: str) -> None:
        entry = self._entries[run_id]
        if entry.run.mlflow_run_id != mlflow_run_id:
            entry.run.mlflow_run_id = mlflow_run_id
            self._save(entry)
            self._notify(run_id, False)

    def list(self, user: str | None = None) -> list[Run]:
        """The newest 100 runs, newest first, as ``user`` may see them; None sees all."""
        newest = sorted(self._entries.values(), key=lambda entry: entry.run.created, reverse=True)[:LISTED]
        return [
            entry.view(user is None or entry.run.user == user, None if entry.living else LISTED_POINTS)
            for entry in newest
        ]


def _load_all(runs_dir: Path) -> list[_Entry]:
    runs_dir.mkdir(parents=True, exist_ok=True)
    entries = []
    for path in runs_dir.iterdir():
        folder = RunFolder(path)
        record = folder.read()
        if record is None:
            continue
        entry = _Entry(record, folder)
        tail, throughput, eta = record.run.log_tail, record.run.throughput, record.run.eta
        for metric in folder.metrics()[0]:
            entry.add(metric)
        record.run.log_tail, record.run.throughput, record.run.eta = tail, throughput, eta
        entries.append(entry)
    return entries
