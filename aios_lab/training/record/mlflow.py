"""The one place that writes runs to MLflow.

A thread brings MLflow level with what the run folders hold. It reads from disk and remembers in each folder
how far it came: a tracking server that is away, or a crash of ours, delays what is written and loses nothing.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from aios_lab.models.lean import without_pandas
from aios_lab.models.places import without_password
from aios_lab.models.store import import_mlflow
from aios_lab.training.record.files import RunFolder
from aios_lab.training.record.mlflow_run import MlflowRun

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger("aios_lab.training")

EXPERIMENT = "aios"
REFUSED_FOR_GOOD = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"}


def probe(uri: str) -> None:
    """Ask the store behind ``uri`` for a sign of life, for at most 2 seconds. Raises OSError without one.

    HTTP servers and SQLite are asked directly; other stores are known only by the first write to them.
    """
    ask = PROBED.get(urlsplit(uri).scheme)
    if ask is not None:
        ask(uri)


def _probe_http(uri: str) -> None:
    parts = urlsplit(uri)
    user_info, at, host = parts.netloc.rpartition("@")
    place = urlunsplit(parts._replace(netloc=host)).rstrip("/")
    request = urllib.request.Request(f"{place}/health")
    if at:  # not for whoever a redirection may name
        name, _, password = user_info.partition(":")
        given = f"{unquote(name)}:{unquote(password)}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(given).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=2):
            return
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise OSError(f"it answers {error.code} {error.reason}") from None


def _probe_sqlite(uri: str) -> None:
    path = Path(unquote(uri.split(":///", 1)[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=2)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OSError(f"{error} ({path})") from None


PROBED = {"http": _probe_http, "https": _probe_http, "sqlite": _probe_sqlite}


class MlflowWriter:
    """``submit`` a run folder from any thread whenever it changed. ``tracked(run_id, mlflow_run_id)`` is
    called from the writer's thread once MLflow knows the run. ``problem`` is the last failure, or empty.
    """

    def __init__(
        self,
        uri: str,
        tracked: Callable[[str, str], None],
        *,
        artifact_root: str | None = None,
        interval: float = 1.0,
    ) -> None:
        self.uri = uri
        self.shown_uri = without_password(uri, uri)
        self.problem = ""
        self._tracked = tracked
        self._artifacts = _artifacts(uri, artifact_root)
        self._interval = interval
        self._retry_after = 5.0
        self._dirty: dict[str, RunFolder] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._asked: list[Future[str]] = []
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._thread = threading.Thread(target=self._work, name="aios-mlflow", daemon=True)

    def start(self) -> None:
        self._wake.set()  # a first pass finds out whether MLflow is there
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Write what is left, for at most ``timeout`` seconds; the rest is written after the next start."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    def submit(self, folder: RunFolder) -> None:
        with self._lock:
            self._dirty[folder.run_id] = folder
        self._wake.set()

    async def check(self, bound: float) -> None:
        """Raise OSError, saying why, where MLflow does not answer within about ``bound`` seconds."""
        try:
            await asyncio.wait_for(asyncio.to_thread(probe, self.uri), bound)
            unproven = self._client is None and urlsplit(self.uri).scheme not in PROBED
            if self.problem or unproven:
                problem = await asyncio.wait_for(asyncio.wrap_future(self._retry()), bound)
                if problem:
                    raise OSError(problem)
        except TimeoutError:
            raise OSError(self.problem or f"no answer within {bound:g} s") from None

    def _retry(self) -> Future[str]:
        answer: Future[str] = Future()
        with self._lock:
            self._asked.append(answer)
        self._wake.set()
        return answer

    def _work(self) -> None:
        while True:
            self._wake.wait(self._retry_after if self.problem else None)
            self._wake.clear()
            closing = self._closing.is_set()
            self._pass()
            if closing:
                return
            self._closing.wait(0 if self._asked else self._interval)

    def _pass(self) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty, {}
            asked, self._asked = self._asked, []
        problem = self._sync_all(dirty)
        if problem and problem != self.problem:
            log.warning("MLflow at %s cannot be written, will try again: %s", self.shown_uri, problem)
        self.problem = problem
        for answer in asked:
            if answer.set_running_or_notify_cancel():
                answer.set_result(problem)

    def _sync_all(self, dirty: dict[str, RunFolder]) -> str:
        while dirty or not self._client:
            run_id = next(iter(dirty), "")
            try:
                probe(self.uri)  # MLflow itself retries for minutes before it admits that nobody is there
                self._connect()
                if run_id:
                    self._sync(dirty[run_id])
            except Exception as error:  # whatever MLflow raises: no thread but this one tries again
                if run_id and getattr(error, "error_code", "") in REFUSED_FOR_GOOD:
                    log.warning("MLflow refuses run %s, it is left out there: %s", run_id, self._text(error))
                else:
                    with self._lock:
                        self._dirty = {**dirty, **self._dirty}
                    return self._text(error)
            dirty.pop(run_id, None)
        return ""

    def _text(self, error: Exception) -> str:
        return " ".join(without_password(str(error), self.uri).split())[:300]

    def _connect(self) -> MlflowClient:
        if self._client is None:
            with without_pandas():
                self._client = self._open()
        return self._client

    def _open(self) -> MlflowClient:
        import_mlflow(self.uri)
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            self._experiment = client.create_experiment(EXPERIMENT, artifact_location=self._artifacts)
        else:
            self._experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
        return client

    def _sync(self, folder: RunFolder) -> None:
        record = folder.read()
        if record is None or folder.cursor().ended:
            return
        run = MlflowRun(self._connect(), self._experiment, folder, record)
        if record.run.mlflow_run_id != run.id:
            self._tracked(folder.run_id, run.id)
        run.sync()


def _artifacts(uri: str, root: str | None) -> str | None:
    """Where artifacts go: below ``root`` or beside a SQLite file; an MLflow server decides for itself."""
    if not uri.startswith("sqlite:///"):
        return None
    beside = Path(unquote(uri[len("sqlite:///") :])).absolute().parent / "artifacts"
    return str(Path(root or beside) / EXPERIMENT)
