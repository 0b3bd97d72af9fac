"""Writing data on the workers that have it, while the kernel says how far that is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aios_lab.training.data.block import Block, block_of
from aios_lab.training.data.prepared import Part, write_all
from aios_lab.training.data.source import Workshop, counted, refuse, size
from aios_lab.training.errors import CannotTrain

LOOK = 0.5  # seconds between two looks at how far it is


def write_value(value: Any, where: str, path: str) -> list[Part]:
    """On a worker: write one partition, whatever kind of rows it is."""
    block: Block = block_of(value, where)
    return write_all([block], path)


def run_tasks(tasks: Sequence[Any], workshop: Workshop, noun: str) -> list[Part]:
    """Compute Dask tasks that each write parts, on all workers; their parts, in the tasks' order.

    What was computed on the way is let go at once: parts are files, and nothing of them stays in memory.

    Raises:
        CannotTrain: one of them failed.
    """
    from distributed import wait

    workshop.folder.mkdir(parents=True, exist_ok=True)
    check_shared(workshop)
    client: Any = workshop.client  # it has no types
    futures = client.compute(list(tasks), optimize_graph=True)
    try:
        while True:
            done = [future for future in futures if future.status != "pending"]
            for future in done:
                _check(future)
            workshop.say(f"{len(done):,} of {counted(len(futures), noun)} loaded, {size(_written(workshop))}")
            if len(done) == len(futures):
                break
            _wait_a_moment(wait, [future for future in futures if future.status == "pending"])
        return [part for parts in client.gather(futures) for part in parts]
    finally:
        for future in futures:
            future.cancel()


def check_shared(workshop: Workshop) -> None:
    """Refuse where a worker does not see the run's folder, in which the data is to lie."""
    mark = workshop.folder / ".mark"
    mark.touch()
    seen = workshop.client.run(_exists, str(mark))
    mark.unlink()
    if blind := sorted(address for address, sees in seen.items() if not sees):
        refuse(
            f"The worker {blind[0]} does not see {workshop.folder}, where the data of this run would lie. "
            "Save the data where all workers can read it, such as Parquet in s3://…, and train with "
            "data='s3://…'; or let AIOS_RUNS name a folder that all share."
        )


def _exists(path: str) -> bool:
    import os

    return os.path.exists(path)


def _check(future: Any) -> None:
    if future.status == "finished":
        return
    if future.status != "error":
        refuse(f"The data was not loaded: its task was {future.status}, as when the slice is given back.")
    error = future.exception()
    if isinstance(error, CannotTrain):
        raise error
    refuse(f"The data could not be loaded: {type(error).__name__}: {error}")


def _wait_a_moment(wait: Any, futures: list[Any]) -> None:
    try:
        wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED")
    except TimeoutError:
        return
    time.sleep(0.02)  # what is done at the same time is told together


def _written(workshop: Workshop) -> int:
    return sum(file.stat().st_size for file in workshop.folder.iterdir() if file.is_file())
