"""A run on disk: what the store keeps of it, so that history outlives the server.

``run.json`` holds the run as a whole and is replaced atomically; ``metrics.jsonl`` and ``usage.jsonl`` are
only appended to; ``mlflow.json`` says how much of all MLflow has already.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ValidationError

from aios_lab.training import whole
from aios_lab.wire import RankUsage, Run, RunLog, RunMetric, RunRequest

log = logging.getLogger("aios_lab.training")

_Model = TypeVar("_Model", bound=BaseModel)

LOG_BYTES = 1 << 20  # of a log that are read to find its last lines
CHUNK = 1 << 26  # of any other file that are read at once: the user's own code can write there, too
METRICS, USAGE = "metrics.jsonl", "usage.jsonl"


class Record(BaseModel):
    """What ``run.json`` holds. ``run`` has its series once it has ended; till then ``metrics.jsonl`` does."""

    run: Run
    request: RunRequest
    model: str | None = None
    order: Literal["go", "stop", "kill"] = "go"
    heard: int = 0  # the number of the newest message of its leader


class Cursor(BaseModel):
    """How much of a run MLflow has: bytes of ``metrics.jsonl`` and ``usage.jsonl``, the time of the
    last resize, the model, the data, the end. ``joules`` are those of the usage that it has."""

    mlflow_run_id: str = ""
    offset: int = 0
    usage: int = 0
    joules: float = 0.0
    resized: float = 0.0
    model: str | None = None
    data: list[str] = []
    ended: bool = False


class RunFolder:
    """``<runs_dir>/<run_id>``. Methods raise OSError when the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        return self.path.name

    def create(self) -> None:
        self.path.mkdir(parents=True, mode=0o700)

    def write_text(self, record: str) -> None:
        """Replace the record, given as JSON."""
        whole.write(self.path / "run.json", record)

    def read(self) -> Record | None:
        """The record, or None where the folder holds no whole run."""
        return _load(Record, self.path / "run.json")

    def write_cursor(self, cursor: Cursor) -> None:
        whole.write(self.path / "mlflow.json", cursor.model_dump_json())

    def cursor(self) -> Cursor:
        return _load(Cursor, self.path / "mlflow.json") or Cursor()

    def append(self, name: str, lines: Sequence[BaseModel]) -> None:
        """All of ``lines`` to METRICS or USAGE or, when the disk refuses, none of them."""
        # json.dumps, not pydantic: it keeps NaN and infinity, which a diverging loss reports.
        data = "".join(json.dumps(line.model_dump()) + "\n" for line in lines).encode()
        file = whole.regular(self.path / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            start = _without_torn_line(file)
            try:
                while data:
                    data = data[os.write(file, data) :]
            except OSError:
                os.ftruncate(file, start)
                raise
        finally:
            os.close(file)

    def metrics(self, offset: int = 0) -> tuple[list[RunMetric], int]:
        """The metrics from byte ``offset`` on, of many the first, and the offset behind the last of them."""
        return self._read(RunMetric, METRICS, offset)

    def usage(self, offset: int = 0) -> tuple[list[RankUsage], int]:
        """The same of what ranks used."""
        return self._read(RankUsage, USAGE, offset)

    def _read(self, kind: type[_Model], name: str, offset: int) -> tuple[list[_Model], int]:
        """What is no such line is left out."""
        try:
            with whole.opened(self.path / name) as file:
                file.seek(offset)
                data = file.read(CHUNK)
        except FileNotFoundError:
            return [], offset
        lines = data[: data.rfind(b"\n") + 1]
        found = []
        for line in lines.splitlines():
            try:
                found.append(kind.model_validate_json(line))
            except ValidationError as error:
                log.warning("%s of run %s has a line that is none: %s", name, self.run_id, error)
        return found, offset + len(lines)

    def log(self, rank: int, lines: int) -> RunLog | None:
        """The last lines that a rank printed; None where it has printed nothing, or on another host, or where
        that cannot be read."""
        try:
            with whole.opened(self.path / f"rank{rank}.log") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(start := max(0, size - LOG_BYTES))
                text = file.read(LOG_BYTES).decode(errors="replace")
        except OSError:
            return None
        found = text.splitlines()[1 if start else 0 :]  # the first one may be cut
        return RunLog(rank=rank, lines=found[-lines:], abridged=bool(start) or len(found) > lines)


def _without_torn_line(file: int) -> int:
    """Cut off what a killed server wrote of its last line, since the run goes on; the size then."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        size = os.pread(file, size, 0).rfind(b"\n") + 1
        os.ftruncate(file, size)
    return size


def _load(kind: type[_Model], path: Path) -> _Model | None:
    try:
        with whole.opened(path) as file:
            return kind.model_validate_json(file.read(CHUNK))
    except (OSError, ValidationError):
        return None
