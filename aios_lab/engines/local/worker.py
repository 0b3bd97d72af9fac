"""A slice's worker process: a Dask worker that its slice host watches and replaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aios_lab.engines.base import EngineError
from aios_lab.engines.local import orders
from aios_lab.engines.local.nodes import SliceWorker, configure, security


def environment(base: dict[str, str], start: orders.Start) -> dict[str, str]:
    """What a worker and all that it starts see: its slice, its threads, its devices and no others."""
    threads = str(start.threads)
    return base | {
        "AIOS_SLICE": start.slice_id,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # Devices are numbered as NVML does; CUDA by itself puts the fastest first.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, start.devices)),
    }


def rename(slice_id: str) -> None:
    """The worker belongs to this slice, which was a spare before."""
    os.environ["AIOS_SLICE"] = slice_id


def main(payload: bytes, fds: dict[str, int]) -> int:
    """Target of ``spawn``: ``payload`` is an ``orders.Start``. Ends when the scheduler closes the worker."""
    start = orders.load_start(payload)
    import torch

    torch.set_num_threads(start.threads)
    configure(accelerators=bool(start.devices))
    asyncio.run(_serve(start))
    return 0


async def _serve(start: orders.Start) -> None:
    worker = SliceWorker(
        start.scheduler,
        name=start.name,
        nthreads=start.threads,
        security=security(start.credentials),
        host="127.0.0.1",
        local_directory=os.path.join(start.folder, start.name),
        death_timeout=30,
        **options(start),
    )
    await worker
    finished: Callable[[], Awaitable[None]] = worker.finished
    await finished()


def options(start: orders.Start) -> dict[str, Any]:
    """Memory and devices; a GPU worker is what dask-cuda makes of its device (affinity, context, data).

    Raises:
        EngineError: dask-cuda cannot be imported, as without the CUDA bindings of the driver's generation.
    """
    if not start.devices:
        return {"memory_limit": start.memory}
    try:
        from dask_cuda.worker_spec import worker_spec
    except ImportError as error:
        raise EngineError(
            f"Workers on GPUs need dask-cuda with CUDA bindings ({error}): install aios-lab[cuda12] or "
            "aios-lab[cuda13], whichever the driver is for, and restart the server."
        ) from error

    device = start.devices[0]
    spec = worker_spec(CUDA_VISIBLE_DEVICES=list(start.devices), threads_per_worker=start.threads)
    made = spec[device]["options"]
    kept = ("plugins", "preload", "preload_argv", "data")
    return {"memory_limit": start.memory} | {name: made[name] for name in kept}
