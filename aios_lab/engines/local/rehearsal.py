"""What a process does before it is needed: to be a slice of one worker for a moment.

Much is done only once in a process, such as setting up TLS, the first task, or taking a memory page for
one's own that was shared with the forkserver. Done beforehand it keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
from typing import Any

from aios_lab.engines.local import tls
from aios_lab.engines.local.nodes import SliceScheduler, SliceWorker, configure, security


def rehearse(folder: str) -> None:
    """Open a slice in this process, with files in ``folder``, run a task there, and close it.

    Nothing of it is left but idle threads of libraries. Neither CUDA nor NVML is touched.
    """
    logging.disable(logging.INFO)  # it is nobody's slice
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=folder) as place:
            asyncio.run(_play(place))
    finally:
        logging.disable(logging.NOTSET)
    gc.collect()
    gc.freeze()


async def _play(place: str) -> None:
    from distributed import Client

    configure(accelerators=False)
    secret: Any = security(tls.issue("rehearsal"))
    scheduler = SliceScheduler(
        host="127.0.0.1", port=0, protocol="tls", security=secret, dashboard=False, on_running=lambda _: None
    )
    options: dict[str, Any] = {"security": secret, "host": "127.0.0.1", "nthreads": 1}
    client: Any = Client  # it has hardly any types
    async with (
        scheduler,
        SliceWorker(scheduler.address, local_directory=place, memory_limit=0, **options),
        client(scheduler.address, security=secret, asynchronous=True, set_as_default=False) as connected,
    ):
        await connected.run(_task)
        await connected.submit(_task)


def _task() -> float:
    import torch

    return float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())
