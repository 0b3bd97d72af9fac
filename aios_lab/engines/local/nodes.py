"""Dask's scheduler and worker as slices run them: no port is open but the TLS one."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask
from distributed import Scheduler, Security, Status, Worker
from distributed.scheduler import WorkerState

from aios_lab.engines.base import Credentials

_NOT_BEGUN = frozenset({"waiting", "ready", "constrained"})


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
    """A slice's worker. Its scheduler may ask it to take no more tasks, to rest, and to go on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for answer in (self.aios_pause, self.aios_rest, self.aios_resume):
            self.handlers[answer.__name__] = answer

    async def aios_pause(self) -> list[Any]:
        """Begin no task; the keys of those that it has and has not begun."""
        self.memory_manager.memory_pause_fraction = False  # that would have it go on as soon as it has room
        if self.status == Status.running:
            self.status = Status.paused
        return [key for key, task in self.state.tasks.items() if task.state in _NOT_BEGUN]

    async def aios_rest(self) -> str:
        """Move all data to disk that can be moved there."""
        data: Any = self.data
        while getattr(data, "fast", None) and data.evict() >= 0:
            await asyncio.sleep(0)
        gc.collect()
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        return "OK"

    async def aios_resume(self) -> str:
        """Take tasks again."""
        self.memory_manager.memory_pause_fraction = dask.config.get("distributed.worker.memory.pause")
        self.status = Status.running
        return "OK"


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
