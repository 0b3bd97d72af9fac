"""Dask's scheduler and worker as slices run them: no port is open but the TLS one."""

from __future__ import annotations

from typing import Any

import dask
from distributed import Scheduler, Worker


class _NoHttp:
    """Takes the place of ``ServerNode.start_http_server``, whose pages anybody on the machine could read."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        return


class SliceScheduler(_NoHttp, Scheduler):
    """A slice's scheduler."""


class SliceWorker(_NoHttp, Worker):
    """A slice's worker."""


def configure(*, accelerators: bool) -> None:
    """Set Dask up for this process; without accelerators nobody asks NVML for any."""
    dask.config.set(
        {
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.diagnostics.nvml": accelerators,
            "distributed.scheduler.work-stealing": True,
        }
    )
