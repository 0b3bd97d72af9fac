"""A process that does one job and tells of it while it goes on, in lines of JSON: both of its sides."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from aios_lab.engines.spawn import Child, spawn

Tell = Callable[..., None]  # takes one message, as keywords

_GOODBYE = 5.0  # seconds a killed process has to be gone


async def follow(target: str, payload: bytes, hear: Callable[[Any], None], longest: int) -> int:
    """Run ``target`` as ``spawn`` does and hear all that it tells; returns its exit code.

    However this ends, the process and all that it started are gone then.

    Args:
        hear: called on the event loop with each message; what it raises ends the process.
        longest: bytes of a message.

    Raises:
        SpawnError: the process could not be started.
        ValueError: what it told is no message, or is longer than ``longest``.
    """
    reading, writing = os.pipe()
    lines = asyncio.StreamReader(limit=longest)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb", buffering=0)
    )
    with closing(transport):
        try:
            child = await _start(target, payload, writing)
        finally:
            os.close(writing)
        try:
            while (line := await lines.readline()).endswith(b"\n"):
                hear(json.loads(line))
            return await child.wait()
        finally:
            await _end(child)


@contextmanager
def telling(fds: Mapping[str, int]) -> Iterator[Tell]:
    """The process's own side: what it calls to tell a message; without a listener they are printed."""
    with os.fdopen(os.dup(fds.get("out", 1)), "w", encoding="utf-8", buffering=1) as out:

        def tell(**message: Any) -> None:
            out.write(json.dumps(message) + "\n")

        yield tell


async def _start(target: str, payload: bytes, out: int) -> Child:
    """Spawn without blocking the loop; when cancelled meanwhile, the process does not stay."""
    starting = asyncio.create_task(asyncio.to_thread(spawn, target, payload, {"out": out}, requests=False))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _end(child: Child) -> None:
    child.kill()
    with suppress(TimeoutError):
        await child.wait(_GOODBYE)
