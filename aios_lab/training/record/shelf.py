"""The runs that the server has at hand: in memory those that live and the newest others, the rest on disk."""

from __future__ import annotations

import re
from pathlib import Path

from aios_lab.training.record.entry import Entry, restored
from aios_lab.training.record.files import RunFolder
from aios_lab.training.record.refused import RunRefused
from aios_lab.wire import Run

KEPT = 200  # ended runs in memory; older ones are read from their folders when asked for
LISTED = 100  # ended runs that list() gives


class Shelf:
    """The entries of the runs in ``runs_dir``, by their ids."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Hold a run in memory."""
        self._entries[entry.run.id] = entry

    def forget_oldest(self) -> None:
        """Hold no more than ``KEPT`` of those that have ended."""
        ended = sorted((one for one in self._entries.values() if not one.living), key=_age)
        for old in ended[:-KEPT]:
            del self._entries[old.run.id]

    def held(self, run_id: str) -> Entry | None:
        """The run, where it is in memory."""
        return self._entries.get(run_id)

    def find(self, run_id: str) -> Entry:
        """The run, from its folder where it is not in memory. Refused with 404 where it is nowhere."""
        entry = self._entries.get(run_id)
        if entry is None and re.fullmatch(r"r-[0-9a-f]{10}", run_id):
            entry = restored(RunFolder(self._runs_dir / run_id))
        if entry is None:
            raise RunRefused(
                404,
                f"There is no run {run_id!r}.",
                "unknown_run",
                "See %aios or the panel for the runs there are.",
            )
        return entry

    @property
    def living(self) -> list[Entry]:
        """Those that have not ended."""
        return [entry for entry in self._entries.values() if entry.living]

    def list(self, user: str | None, slice_id: str | None) -> list[Run]:
        """The runs of a user, newest first: all that live and the newest 100 others. With ``slice_id`` those
        of this slice, and detached ones."""
        chosen = sorted(
            (
                entry
                for entry in self._entries.values()
                if user in (None, entry.run.user)
                and (slice_id in (None, entry.run.slice_id) or entry.run.detached)
            ),
            key=_age,
            reverse=True,
        )
        newest = {entry.run.id for entry in [one for one in chosen if not one.living][:LISTED]}
        return [entry.listed() for entry in chosen if entry.living or entry.run.id in newest]


def _age(entry: Entry) -> float:
    return entry.run.created
