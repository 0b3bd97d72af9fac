"""What is new in a run since it was last told: merged until somebody takes it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aios_lab.wire import RunUpdate

log = logging.getLogger("aios_lab.training")

APPENDED = {"metrics": 100_000, "logs": 1_000, "resizes": 1_000, "usage": 1_000}  # how many of each are kept
LARGEST = 1 << 20  # bytes of metrics, and of other lists, that are told at once

Taken = dict[str, Any]


class News:
    """Fields of ``wire.RunUpdate``: of most the newest value counts, those in ``APPENDED`` add up.

    ``first`` is the number, from 0, of the first metric that was not taken yet. Safe in any thread.
    """

    def __init__(self) -> None:
        self.first = 0
        self._lock = threading.Lock()
        self._fields: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {name: [] for name in APPENDED}

    def tell(self, **fields: Any) -> None:
        """None leaves a field as it is."""
        with self._lock:
            for name, value in fields.items():
                if name in APPENDED:
                    self._set(name, [*self._lists[name], *(value or ())])
                elif value is not None:
                    self._fields[name] = value

    def take(self) -> Taken:
        """All there is, but of a long backlog the oldest part; it counts as told unless it is put back."""
        with self._lock:
            taken, self._fields = self._fields, {}
            for name, held in self._lists.items():
                if held:
                    some = _that_fit(held)
                    taken[name], self._lists[name] = held[:some], held[some:]
            self.first += len(taken.get("metrics", ()))
            return taken

    def put_back(self, taken: Mapping[str, Any]) -> None:
        """It was not told; what came meanwhile is newer."""
        with self._lock:
            self.first -= len(taken.get("metrics", ()))
            fields = {name: value for name, value in taken.items() if name not in APPENDED}
            self._fields = fields | self._fields
            for name in APPENDED:
                self._set(name, [*taken.get(name, ()), *self._lists[name]])

    @property
    def more(self) -> bool:
        with self._lock:
            return bool(self._fields or any(self._lists.values()))

    def _set(self, name: str, values: list[Any]) -> None:
        """The newest ones of a list are kept."""
        dropped = max(0, len(values) - APPENDED[name])
        self._lists[name] = values[dropped:]
        if name == "metrics":
            self.first += dropped


def update_of(taken: Mapping[str, Any]) -> RunUpdate:
    """News as the wire has them, without those fields that it does not take."""
    try:
        return RunUpdate(**taken)
    except ValidationError as error:
        log.warning("run news that cannot be told: %s", error)
        wrong = {str(one["loc"][0]) for one in error.errors()}
        return RunUpdate(**{name: value for name, value in taken.items() if name not in wrong})


def _that_fit(values: list[Any]) -> int:
    """How many of the first values fit into one message, at least one."""
    size = 0
    for count, value in enumerate(values):
        size += len(json.dumps(value if isinstance(value, str) else value.model_dump(mode="json")))
        if count and size > LARGEST:
            return count
    return len(values)
