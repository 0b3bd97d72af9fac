"""What the tests of training share: a type, and a count of the processes that runs leave behind."""

from __future__ import annotations

import time
from typing import Any, Protocol

import psutil

from aios_lab.training import Run


class Train(Protocol):
    def __call__(self, *args: Any, **options: Any) -> Run: ...


def ranks_left(patience: float = 5.0) -> list[str]:
    """Processes of runs that are still there once they had ``patience`` seconds to go."""
    end = time.monotonic() + patience
    while (left := _ranks()) and time.monotonic() < end:
        psutil.wait_procs(left, timeout=0.1)
    return [f"{p.pid} {p.environ().get('AIOS_RUN')}" for p in left if p.is_running()]


def _ranks() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "AIOS_RUN" in process.environ():
                found.append(process)
        except psutil.Error:  # it went away while we looked
            continue
    return found
