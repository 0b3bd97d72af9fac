"""The MLflow store behind the registry: opened late, checked before use, its errors in plain words."""

from __future__ import annotations

import importlib
import logging
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from .errors import BadRequest, ModelError, NotFound, RegistryUnavailable
from .places import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_STAMP = """
select (select count(*) from registered_models), (select max(last_updated_time) from registered_models),
       (select count(*) from model_versions), (select max(last_updated_time) from model_versions)
"""
_CONNECT, _ANSWER = 2.0, 2.5  # seconds that a server has for its health page: together under 5
_LIMITS = {
    # MLflow tries 7 times with growing pauses by default: minutes without a word.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # A registry on this machine has nothing to report to anybody.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# MLflow imports tqdm where it is installed, which tells a notebook without ipywidgets to get them.
_NO_WIDGETS = "IProgress not found"


_importing = threading.Lock()


def import_mlflow(uri: str) -> None:
    """Import MLflow, one thread at a time: two can deadlock in its circular imports. It takes seconds."""
    with _importing:
        for name, value in _LIMITS.items():
            os.environ.setdefault(name, value)
        if urlsplit(uri).password:  # at the end of each run it prints an address that has the password
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        warnings.filterwarnings("ignore", _NO_WIDGETS)
        importlib.import_module("mlflow")


class Store:
    """One MLflow tracking and registry store. Safe to share between threads.

    Args:
        uri: ``sqlite:///path``, ``http(s)://…``, or any other URI that MLflow takes.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MlflowClient | None = None
        self._lock = threading.Lock()

    @property
    def remote(self) -> bool:
        """Whether it is an MLflow server, which takes no local paths."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def _file(self) -> Path | None:
        if not self.uri.startswith(_SQLITE):
            return None
        return Path(self.uri.removeprefix(_SQLITE).partition("?")[0])

    @property
    def exact(self) -> bool:
        """Whether ``stamp`` differs as soon as a model does."""
        return self._file is not None

    def stamp(self) -> object:
        """How many models and versions the SQLite file holds, and when the newest changed: runs, which write
        to it all the time, do not count. For other stores a new one every 15 s. Blocks for milliseconds.

        Returns:
            Something to compare; None while there are no tables.
        """
        if self._file is None:
            return int(time.monotonic() / 15)
        if not self._file.exists():
            return None
        place = f"file:{quote(str(self._file.absolute()))}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=1)) as connection:
            try:
                return tuple(connection.execute(_STAMP).fetchone())
            except sqlite3.OperationalError:  # the tables of a new file are still being made
                return None

    def client(self) -> MlflowClient:
        """The client, after a check that the store answers. The first call takes seconds: it imports MLflow.

        Raises:
            RegistryUnavailable: the store does not answer, within 5 s.
        """
        if self.remote:
            self._check_server()
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> MlflowClient:
        import_mlflow(self.uri)
        if self._file is not None:
            self._prepare_sqlite(self._file)
        with plain_errors(self.uri):
            from mlflow import MlflowClient

            for noisy in ("mlflow.store.db.utils", "alembic"):  # they tell of every table they make
                logging.getLogger(noisy).setLevel(logging.WARNING)
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_registered_models(max_results=1)  # makes the tables of a new store
            return client

    def _prepare_sqlite(self, path: Path) -> None:
        """Make the folder, and let readers and a writer work side by side; the mode stays with the file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=20)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(self.uri, str(error)) from error

    def _check_server(self) -> None:
        import requests

        try:
            answer = requests.get(f"{self.uri.rstrip('/')}/health", timeout=(_CONNECT, _ANSWER), stream=True)
            answer.close()
        except requests.RequestException as error:
            raise _unavailable(self.uri, type(error).__name__) from error
        if answer.status_code >= 500:
            raise _unavailable(self.uri, f"it answers with status {answer.status_code}")


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and its HTTP client raise into our errors."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _translate(uri, error.error_code, error.message) from error
    except (SQLAlchemyError, requests.RequestException) as error:
        raise _unavailable(uri, str(error).splitlines()[0]) from error


def _translate(uri: str, code: str, message: str) -> ModelError:
    first = message.splitlines()[0] if message else code
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound(f"MLflow does not know it: {first}.", "List what there is with aios.models.list().")
    if code == "INVALID_PARAMETER_VALUE":
        return BadRequest(f"MLflow refused it: {first}.", "Change the named value and try again.")
    return _unavailable(uri, first)


def _unavailable(uri: str, detail: str) -> RegistryUnavailable:
    return RegistryUnavailable(
        without_password(f"The model registry at {uri} cannot be used: {detail.rstrip('.')}.", uri),
        "Start the MLflow server, or set AIOS_MLFLOW_URI (the server's option mlflow_uri) to one that works; "
        "nothing was changed.",
    )
