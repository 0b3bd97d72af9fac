"""What a slice host said while it had no engine is heard by the next one."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, cast

from aios_lab.engines import spawn
from aios_lab.engines.base import Credentials
from aios_lab.engines.local import orders
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.engines.local.handle import SliceHandle
from aios_lab.engines.local.warm import Warm
from engines.running import Heard


def test_a_host_that_talks_nonsense_is_ended_and_does_not_keep_who_waits(tmp_path: Path):
    asyncio.run(_hear_nonsense(tmp_path))


async def _hear_nonsense(folder: Path) -> None:
    handle, host, fate = await _inherited(folder, LocalEngine({"cpus": 1, "memory": "1GB"}, folder), b"")
    host.sendall(orders.dump({"report": {"nonsense": 1}}))
    os.write(fate, b'{"exit": -9}\n')
    await asyncio.wait_for(handle.ended.wait(), 20)
    await handle.close()
    host.close()


def test_what_was_said_between_two_engines_is_told_once(tmp_path: Path):
    asyncio.run(_inherit(tmp_path))


async def _inherit(folder: Path) -> None:
    heard, engine = Heard(), LocalEngine({"cpus": 1, "memory": "1GB"}, folder)
    engine._listener = heard
    missed: list[dict[str, Any]] = [{"fenced": {"workers": 2, "tasks": 3}}, {"problem": "too much memory"}]
    said = b'rest": 5}\n' + b"".join(map(orders.dump, missed))
    handle, host, fate = await _inherited(folder, engine, said)
    assert heard.fences == heard.troubles == {}, "nobody knows the slice yet"
    handle.catch_up()
    assert heard.fences.pop("s-1") == (2, 3)
    assert heard.troubles.pop("s-1") == "too much memory"
    handle.catch_up()
    assert heard.fences == heard.troubles == {}
    os.write(fate, b'{"exit": 0}\n')
    host.close()
    await handle.ended.wait()


async def _inherited(
    folder: Path, engine: LocalEngine, missed: bytes
) -> tuple[SliceHandle, socket.socket, int]:
    """A slice whose host has said this, the host's end of its line, and where the host's end is told."""
    line, host = socket.socketpair()
    status, fate = os.pipe()
    child = spawn.Child(os.getpid(), status, spawn.Spawner(line))
    hello = orders.Hello(
        orders.Open("s-1", Credentials("", "", ""), str(folder / "s-1"), 9), None, orders.Report()
    )
    host.sendall(missed + orders.dump(hello))
    handle = await SliceHandle.inherit(child, line, cast(Warm, None), engine)
    assert handle is not None
    return handle, host, fate
