"""The past of this ledger as forecasts read it: who asked when, for what, and how long it was held."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aios_lab.allocation import Past, Resources
from aios_lab.broker.claims import PRIORITIES
from aios_lab.broker.ledger import Ledger
from aios_lab.broker.quotas import principal_path
from aios_lab.broker.slices import Slice

KEPT = 2_000  # past claims that a forecast looks at, the newest
LINES = 10_000  # lines of the ledger that are read at the first question


class Record:
    """Reads what is new in the ledger at every question."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = 0
        self._closed: deque[tuple[tuple[str, str], Past]] = deque(maxlen=KEPT)
        self._open: dict[str, tuple[tuple[str, str], Past]] = {}

    def past(self) -> tuple[Past, ...]:
        """The claims of the past, and those of now. Raises: Refused, the ledger cannot be read."""
        for line in self._ledger.steps(self._seen, LINES):
            self._seen = line["id"]
            self._note(line["slice_id"], line["kind"], line["time"], line["data"])
        return tuple(past for _, past in (*self._closed, *self._open.values()))

    @property
    def members(self) -> set[tuple[str, str]]:
        """Project and user of everybody in it."""
        return {member for member, _ in (*self._closed, *self._open.values())}

    def _note(self, slice_id: str, kind: str, time: float, data: Mapping[str, Any]) -> None:
        if kind in ("expired", "lost"):
            # The server was killed: nobody knows how long it would have been held.
            if slice_id in self._open:
                member, past = self._open.pop(slice_id)
                self._closed.append((member, replace(past, started=None)))
            return
        held = any(data["units"].values())
        if slice_id in self._open:
            self._go_on(slice_id, time, data, held)
        if slice_id not in self._open and Slice.asked_in(data):
            member = data["claim"]["project"], data["owner"]["user"]
            submitted = min(time, data["asked"] or time)
            began = max(submitted, data["began"] or time) if held else None
            self._open[slice_id] = member, _asked(data, submitted, began)

    def _go_on(self, slice_id: str, time: float, data: Mapping[str, Any], held: bool) -> None:
        member, past = self._open[slice_id]
        if past.started is None and held:
            started = max(past.submitted, data["began"] or time)
            self._open[slice_id] = member, replace(past, started=started)
        elif past.started is not None and not held:
            del self._open[slice_id]
            self._closed.append((member, replace(past, ended=max(time, past.started))))
        elif past.started is None and not Slice.asked_in(data):
            del self._open[slice_id]
            self._closed.append((member, past))  # it gave up waiting
        elif past.started is None:
            self._open[slice_id] = member, _asked(data, past.submitted, None)


def _asked(data: Mapping[str, Any], submitted: float, started: float | None) -> Past:
    claim = data["claim"]
    return Past(
        principal=principal_path(claim["project"], data["owner"]["user"]),
        unit=Resources(**claim["unit"]),
        min=claim["min"],
        max=claim["max"],
        submitted=submitted,
        started=started,
        duration=claim["duration"],
        priority=PRIORITIES[claim["priority"]],
        preemptible=claim["preemptible"],
    )
