"""Dask's scheduler and worker as slices run them: no port is open but the TLS one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
from distributed import Scheduler, Security, Status, Worker
from distributed.scheduler import WorkerState

from aios_lab.engines.base import Credentials


class _NoHttp:
    """Takes the place of ``ServerNode.start_http_server``, whose pages anybody on the machine could read."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        return


class SliceScheduler(_NoHttp, Scheduler):
    """A slice's scheduler. ``on_running`` is told the name of each worker that begins to take work.

    That is a moment after it was added; until then no data can be moved to it.
    """

    def __init__(self, *, on_running: Callable[[str], None], **kwargs: Any) -> None:
        self._on_running = on_running
        super().__init__(**kwargs)

    def handle_worker_status_change(
        self, status: str | Status, worker: str | WorkerState, stimulus_id: str
    ) -> None:
        super().handle_worker_status_change(status, worker, stimulus_id)
        state = self.workers.get(worker) if isinstance(worker, str) else worker
        if state is not None and state.status == Status.running:
            self._on_running(str(state.name))


class SliceWorker(_NoHttp, Worker):
    """A slice's worker."""


def configure(*, accelerators: bool) -> None:
    """Set Dask up for this process; without accelerators nobody asks NVML for any.

    What Dask measures of itself many times a second for its dashboard is measured less often: an idle slice
    is to take next to no time of a processor.
    """
    dask.config.set(
        {
            "distributed.admin.tick.interval": "250ms",
            "distributed.admin.system-monitor.interval": "1s",
            "distributed.worker.profile.enabled": False,
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.diagnostics.nvml": accelerators,
            "distributed.scheduler.work-stealing": True,
        }
    )


def security(credentials: Credentials) -> Security:
    """What Dask needs to speak TLS as a member of a slice, and to accept nobody else."""
    create: Callable[..., Security] = Security  # it has no types
    return create(
        require_encryption=True,
        tls_ca_file=credentials.ca,
        tls_scheduler_cert=credentials.cert,
        tls_scheduler_key=credentials.key,
        tls_worker_cert=credentials.cert,
        tls_worker_key=credentials.key,
        tls_client_cert=credentials.cert,
        tls_client_key=credentials.key,
    )
