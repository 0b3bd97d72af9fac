"""The server's record of runs: what leaders report, what users want, and the history after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Literal

from aios_lab.training.begun import begun, new_run_id
from aios_lab.training.data import clear
from aios_lab.training.progress import take
from aios_lab.training.record.entry import Entry, history
from aios_lab.training.record.files import Record, RunFolder
from aios_lab.training.record.mlflow import MlflowWriter
from aios_lab.training.record.refused import RunRefused
from aios_lab.training.record.shelf import KEPT, Shelf
from aios_lab.training.record.writer import FolderWriter
from aios_lab.training.untold import Message, untold
from aios_lab.wire import Problem, Run, RunLog, RunOrder, RunRequest, RunState, RunUpdate

log = logging.getLogger("aios_lab.training")

SILENCE = 30.0  # seconds without a word from its leader, which speaks every second, that end a run
UNHEARD = 0.1  # of SILENCE: from then on a stop does not wait for the leader to carry it out
MEND_MLFLOW = (
    "Start that MLflow server, or set AIOSLab.mlflow_uri to one that answers "
    "(left out, it is a SQLite file of this server)."
)
UNREPORTED = "Nobody reports this run any more: its kernel was interrupted as it began, or its slice hangs."

Callback = Callable[[str, bool], None]


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
        silence: float = SILENCE,
    ) -> None:
        self.runs_dir = Path(runs_dir)
        self._shelf = Shelf(self.runs_dir)
        self._callbacks: list[Callback] = []
        self._order: Callable[[Run, str], None] = lambda _run, _order: None
        self._timeout = mlflow_timeout
        self.silence = silence
        self._watch: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mlflow = MlflowWriter(
            mlflow_uri, self._tracked_in_thread, artifact_root=artifact_root, interval=mlflow_interval
        )
        self._writer = FolderWriter(self._mlflow.submit)

    async def start(self, goes_on: Callable[[str], bool] = lambda _: False) -> None:
        """Read the newest runs; those that were alive in a server that died become failed, but on slices that
        go on: there their leaders report again, or ``end_of_slice`` ends them. Of some their leaders left the
        end in their folders."""
        self._loop = asyncio.get_running_loop()
        found = await asyncio.to_thread(history, self.runs_dir, KEPT)
        for entry in found.entries:
            left = await asyncio.to_thread(_untold, entry)
            self._shelf.put(entry)
            self._take_untold(entry, left)
            if entry.living and not goes_on(entry.run.slice_id):
                self._end(entry, RunState.FAILED, "The server restarted while this run was going on.")
            elif entry.run.id in found.replayed:
                self._save(entry)
        for folder in found.untracked:
            self._mlflow.submit(folder)
        self._writer.start()
        self._mlflow.start()
        self._watch = asyncio.create_task(self._watch_living(), name="aios runs")

    @property
    def living(self) -> frozenset[str]:
        """The ids of runs that have not ended."""
        return frozenset(entry.run.id for entry in self._shelf.living)

    async def close(self, timeout: float = 10.0, leave: Collection[str] = ()) -> None:
        """End what still lives, but on the slices to ``leave``. What MLflow misses for ``timeout`` seconds it
        gets after the next start."""
        if self._watch is not None:
            self._watch.cancel()
        for entry in self._shelf.living:
            if entry.run.slice_id not in leave:
                self._end(entry, RunState.FAILED, "The server was stopped while this run was going on.")
        self._loop = None
        await asyncio.to_thread(self._writer.close, timeout)
        await asyncio.to_thread(self._mlflow.close, timeout)

    async def _watch_living(self) -> None:
        """End runs that nobody reports. Rounds are counted, not seconds: while this loop itself was held up,
        no report could be heard."""
        pause = min(1.0, self.silence / 10)
        while True:
            await asyncio.sleep(pause)
            for entry in self._shelf.living:
                entry.silent += pause
                if entry.silent >= self.silence:
                    self._end(entry, RunState.FAILED, UNREPORTED)

    @property
    def problem(self) -> Problem | None:
        """Why MLflow was not written at the last attempt; None when all is well."""
        if not (why := self._mlflow.problem):
            return None
        return Problem(
            message=f"MLflow at {self._mlflow.shown_uri} cannot be written: {why.rstrip('.')}. "
            "What it misses is kept, and written once it can be.",
            reason="mlflow_unreachable",
            hint=MEND_MLFLOW,
        )

    async def begin(self, request: RunRequest, slice_id: str, user: str, run_id: str | None = None) -> Run:
        """Record a new run. Refused with 409 where MLflow does not answer or the disk cannot take it.

        Args:
            run_id: of ``new_run_id()``, for callers that need to know it beforehand.
        """
        await self._check_mlflow()
        run = begun(request, run_id or new_run_id(), slice_id, user)
        entry = Entry(Record(run=run, request=request), RunFolder(self.runs_dir / run.id))
        try:
            await asyncio.to_thread(entry.folder.create)
            await asyncio.to_thread(entry.folder.write_text, entry.text())
        except OSError as error:
            raise RunRefused(
                409,
                f"The run cannot be recorded in {self.runs_dir}: {error.strerror or error}.",
                "runs_folder",
                "Free some space or mend the folder's permissions, then train again.",
            ) from error
        self._shelf.put(entry)
        self._shelf.forget_oldest()
        self._mlflow.submit(entry.folder)
        self._notify(run.id, True)
        return entry.view()

    async def _check_mlflow(self) -> None:
        try:
            await self._mlflow.check(self._timeout)
        except OSError as error:
            where = self._mlflow.shown_uri
            raise RunRefused(
                409,
                f"MLflow at {where} does not answer, so the run would not be tracked: {error}.",
                "mlflow_unreachable",
                MEND_MLFLOW,
            ) from error

    def take(self, run_id: str, message: Message, kept: Callable[[], None]) -> None:
        """Take in a message of the run's leader; ``kept`` is called when it is on the disk. While this is
        closed it is left to whoever comes next."""
        entry, loop = self._shelf.find(run_id), self._loop
        if loop is None:
            return
        self._believe(entry, message)
        on_loop: Callable[[], object] = partial(loop.call_soon_threadsafe, kept)
        self._writer.submit(entry.folder, kept=on_loop)

    def _take_untold(self, entry: Entry, left: list[Message]) -> None:
        """What the leader of a living run could tell nobody."""
        for message in left:
            try:
                self._believe(entry, message)
            except Exception:  # the user's own code can write there, too
                log.exception("run %s left what cannot be recorded", entry.run.id)

    def _believe(self, entry: Entry, message: Message) -> None:
        try:
            self.update(entry.run.id, entry.new_of(message))
        except RunRefused as refused:  # the model that it names is none of its own
            log.warning("run %s: %s", entry.run.id, refused.message)

    def order(self, run_id: str) -> str:
        """What is wanted of a run."""
        return self._shelf.find(run_id).record.order

    def on_order(self, callback: Callable[[Run, str], None]) -> None:
        """Call back when something is wanted of a run, at once."""
        self._order = callback

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        """Take in what is reported; the answer says whether the run should go on.

        Of a run that has ended already only a model is still taken.
        """
        entry = self._shelf.find(run_id)
        entry.silent = 0.0
        if update.model is not None:
            self._set_model(entry, update.model)
            self._save(entry)
        if entry.living and update != RunUpdate(model=update.model):
            self._take_in(entry, update)
        elif update.model is not None:
            self._notify(run_id, False)
        return RunOrder(order=entry.record.order)

    def _take_in(self, entry: Entry, update: RunUpdate) -> None:
        before = entry.run.state
        told = take(entry.run, update)
        if update.started is not None:
            entry.run.started = min(update.started, time.time())
        entry.add(update.metrics)
        entry.log(update.logs)
        if update.error is not None:
            entry.run.error = update.error
        self._move(entry, update.state, update.ended)
        changed = entry.run.state is not before
        whole = changed or told or update.error is not None or bool(update.usage)
        if whole or update.metrics:
            text = entry.text() if whole else None
            self._writer.submit(entry.folder, update.metrics, update.usage, text)
        self._notify(entry.run.id, changed)

    def _move(self, entry: Entry, state: RunState | None, ended: float | None = None) -> None:
        run = entry.run
        if state is None or not entry.living:
            return
        if state is RunState.RUNNING and run.started is None:
            run.started = time.time()
        if state.ended:
            run.ended, run.eta = min(ended or time.time(), time.time()), None
            Thread(target=clear, args=(entry.folder.path,), name="aios-data").start()
        elif run.state is RunState.STOPPING or state is RunState.PENDING:
            return
        run.state = state

    def stop(self, run_id: str, kill: bool = False) -> Run:
        """Ask a run to stop with a partial result, or with ``kill`` at once. An ended one stays as it is, and
        one that nobody reports ends here and now."""
        entry = self._shelf.find(run_id)
        if entry.living and entry.silent >= UNHEARD * self.silence:
            self._end(entry, RunState.STOPPED, UNREPORTED)
        elif entry.living:
            order: Literal["stop", "kill"] = "kill" if kill or entry.record.order == "kill" else "stop"
            changed = entry.run.state is not RunState.STOPPING
            entry.run.state, entry.record.order = RunState.STOPPING, order
            self._save(entry)
            self._order(entry.run, order)
            self._notify(run_id, changed)
        return entry.view()

    def end_of_slice(self, slice_id: str, why: str, spare: Callable[[Run], bool] = lambda _: False) -> None:
        """What ran on the slice is over: its living runs become failed, but those to ``spare``."""
        for entry in self._shelf.living:
            if entry.run.slice_id == slice_id and not spare(entry.run):
                self._end(entry, RunState.FAILED, why)

    def get(self, run_id: str, user: str | None = None) -> Run:
        """The run as its owner sees it, or as ``user`` may see it. Refused with 404 where it is unknown."""
        entry = self._shelf.find(run_id)
        return entry.view(mine=user is None or entry.run.user == user)

    def brief(self, run_id: str) -> Run:
        """As ``get``, without what plots need: for who looks at every report of a run."""
        return self._shelf.find(run_id).run.model_copy()

    def log(self, run_id: str, rank: int, lines: int) -> RunLog:
        """The end of what a rank printed; blocks. Refused with 404 where its file is not here."""
        found = RunFolder(self.runs_dir / run_id).log(rank, lines)
        if found is None:
            raise RunRefused(
                404,
                f"There is no log of rank {rank} of run {run_id} on this host.",
                "no_log",
                "A rank on another host writes its log there; its last lines are in the run.",
            )
        return found

    def model_folder(self, run_id: str) -> Path:
        """The folder of the model bundle that the run saved. Refused with 409 where it saved none."""
        entry = self._shelf.find(run_id)
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

    def _notify(self, run_id: str, state_changed: bool) -> None:
        for callback in self._callbacks:
            try:
                callback(run_id, state_changed)
            except Exception:  # whoever looks on must not keep the record from being written
                log.exception("run %s: its change could not be told", run_id)

    def _set_model(self, entry: Entry, folder: str) -> None:
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

    def _save(self, entry: Entry) -> None:
        self._writer.submit(entry.folder, text=entry.text())

    def _end(self, entry: Entry, state: RunState, error: str) -> None:
        self._take_untold(entry, _untold(entry))
        if not entry.living:
            return
        entry.run.error, entry.record.order = error, "kill"
        self._move(entry, state)
        self._save(entry)
        self._notify(entry.run.id, True)

    def _tracked_in_thread(self, run_id: str, mlflow_run_id: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tracked, run_id, mlflow_run_id)

    def _tracked(self, run_id: str, mlflow_run_id: str) -> None:
        entry = self._shelf.held(run_id)
        if entry is not None and entry.run.mlflow_run_id != mlflow_run_id:
            entry.run.mlflow_run_id = mlflow_run_id
            self._save(entry)
            self._notify(run_id, False)

    def list(self, user: str | None = None, slice_id: str | None = None) -> list[Run]:
        """The runs of a user, newest first: all that live and the newest 100 others. With ``slice_id`` those
        of this slice, and detached ones."""
        return self._shelf.list(user, slice_id)


def _untold(entry: Entry) -> list[Message]:
    return list(untold(entry.folder.path)) if entry.living else []
