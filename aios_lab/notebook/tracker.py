"""Reports runs of this kernel to its server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aios_lab.notebook.errors import AIOSError

if TYPE_CHECKING:
    from aios_lab.notebook.server import Server
    from aios_lab.wire import Run, RunOrder, RunRequest, RunUpdate


class HTTPTracker:
    """training's Tracker over the server's REST interface. Safe to use from several threads."""

    def __init__(self, server: Server, runs_dir: str | Path) -> None:
        self.runs_dir = Path(runs_dir)
        self._server = server

    def begin(self, request: RunRequest) -> Run:
        """Raises AIOSError where the server refuses the run."""
        from aios_lab.wire import Run

        return self._server.call("POST", "runs", Run, request)

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        """What the server wants of the run: to be killed where it no longer knows it or this kernel.

        Raises TrackerUnavailable for every other trouble: the same news may be told again.
        """
        from aios_lab.training.kernel.tracker import TrackerUnavailable
        from aios_lab.wire import RunOrder

        try:
            return self._server.call("PATCH", f"runs/{run_id}", RunOrder, update)
        except AIOSError as error:
            if error.status in (403, 404):
                return RunOrder(order="kill")
            raise TrackerUnavailable(str(error)) from error
