"""What the tests of training share: a type, and a count of the processes that runs leave behind."""

from __future__ import annotations

import time
from typing import Any, Protocol

import psutil

from aios_lab.training import Run

FORKSERVER = "aios_lab.engines.local.forkserver"


class Train(Protocol):
    def __call__(self, *args: Any, **options: Any) -> Run: ...


def ranks_left(patience: float = 5.0) -> list[str]:
    """Processes of runs that are still there once they had ``patience`` seconds to go."""
    end = time.monotonic() + patience
    while (left := _ranks()) and time.monotonic() < end:
        psutil.wait_procs(left, timeout=0.1)
    return [str(process) for process in left if process.is_running()]


def _ranks() -> list[psutil.Process]:
    """What the forkservers of workers have forked, and what that started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            forked = FORKSERVER in process.cmdline() and not any(
                FORKSERVER in above.cmdline() for above in process.parents()
            )
            found += process.children(recursive=True) if forked else []
        except psutil.Error:  # it went away while we looked
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]
