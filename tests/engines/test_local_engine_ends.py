"""How slices and the engine end or fail: closed at any moment, forkservers that die, what cannot be had."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from aios_lab.allocation.types import Resources
from aios_lab.engines import processes
from aios_lab.engines.base import EngineError
from aios_lab.engines.processes import await_end, marked
from engines.running import UNIT, Running
from live import until


def test_closing_what_is_not_there_is_fine_and_restarting_it_is_not(engine: Running):
    engine.close("s-unknown0")
    with pytest.raises(EngineError, match="not open"):
        engine.call(engine.engine.restart("s-unknown0"))


def test_closing_cuts_a_growth_short(engine: Running):
    async def scenario(slice_id: str) -> None:
        growth = asyncio.create_task(engine.engine.scale(slice_id, UNIT, 2))
        while engine.info(slice_id) is None:
            await asyncio.sleep(0)
        await engine.engine.close(slice_id)
        with pytest.raises(EngineError):
            await growth

    slice_id = engine.new_id()
    engine.call(scenario(slice_id))
    assert engine.info(slice_id) is None
    assert slice_id not in engine.heard.gone


def test_closing_while_the_engine_warms_up_leaves_nothing(tmp_path: Path):
    running = Running(tmp_path, {"cpus": 8, "memory": "16GB"})

    async def scenario() -> None:
        opening = asyncio.create_task(running.engine.scale("s-00000001", UNIT, 2))
        await asyncio.sleep(0)  # it waits for the forkserver, which imports for seconds
        await running.engine.close("s-00000001")
        with pytest.raises(EngineError, match="closed before it was open"):
            await opening

    try:
        running.call(scenario())
        assert running.info("s-00000001") is None
        info = running.scale("s-00000001", 1)  # the name is free, and the engine well
        assert running.heard.gone == {}
        (engine_id,) = {engine for pid, engine in marked() if pid in info.pids}
        assert len(processes.of_engine(engine_id)) == len(info.pids) + 1  # and the forkserver
    finally:
        running.stop()


def test_a_slice_can_be_closed_at_any_moment_of_its_opening(own_engine: Running):
    """Only the forkserver is left, whenever it came: each round closes a little later."""

    async def scenario(slice_id: str, turns: int) -> None:
        opening = asyncio.create_task(own_engine.engine.scale(slice_id, UNIT, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        await own_engine.engine.close(slice_id)
        await asyncio.gather(opening, return_exceptions=True)

    own_engine.scale("s-ffffffff", 0)
    (host,) = own_engine.pids("s-ffffffff")
    (engine_id,) = {engine for pid, engine in marked() if pid == host}
    own_engine.close("s-ffffffff")
    for turns in range(1, 60, 5):
        own_engine.call(scenario(f"s-{turns:08x}", turns))
        assert own_engine.info(f"s-{turns:08x}") is None
        assert len(processes.of_engine(engine_id)) == 1
    assert own_engine.heard.gone == {}


def test_all_ends_with_the_engine(own_engine: Running):
    own_engine.scale("s-00000001", 1)
    own_engine.scale("s-00000002", 1)
    pids = {*own_engine.pids("s-00000001"), *own_engine.pids("s-00000002")}
    (engine_id,) = {engine for pid, engine in marked() if pid in pids}
    own_engine.call(own_engine.engine.stop())
    assert [pid for pid, engine in marked() if engine == engine_id] == []
    assert own_engine.heard.gone == {}


def test_a_killed_forkserver_loses_all_slices_and_a_new_one_opens_others(own_engine: Running):
    own_engine.scale("s-00000001", 2)
    own_engine.scale("s-00000002", 1)
    pids = {*own_engine.pids("s-00000001"), *own_engine.pids("s-00000002")}
    (engine_id,) = {engine for pid, engine in marked() if pid in pids}
    (server,) = {pid for pid, engine in marked() if engine == engine_id} - pids
    os.kill(server, signal.SIGKILL)
    until("both losses are told", lambda: len(own_engine.heard.gone) == 2)
    assert await_end(pids, 0) == []
    assert "forkserver" in own_engine.heard.gone["s-00000001"]
    assert [pid for pid, engine in marked() if engine == engine_id] == []
    assert own_engine.scale("s-00000001", 1).workers == 1


def test_accelerators_that_are_not_there_are_refused(own_engine: Running):
    real = Running(own_engine.engine.log.parent / "real", None)
    try:
        count = len(real.engine.inventory().accelerators)
        with pytest.raises(EngineError, match="accelerators"):
            real.scale("s-00000001", count + 1, Resources(cpu=1000, memory=512, gpu=1000))
        assert real.info("s-00000001") is None
    finally:
        real.stop()


def test_a_slice_asked_for_while_the_forkserver_dies_comes_from_the_next(own_engine: Running):
    own_engine.scale("s-00000001", 1)
    pids = set(own_engine.pids("s-00000001"))
    (engine_id,) = {engine for pid, engine in marked() if pid in pids}
    (server,) = {pid for pid, engine in marked() if engine == engine_id} - pids
    os.kill(server, signal.SIGKILL)
    assert own_engine.scale("s-00000002", 1).workers == 1


def test_a_folder_that_cannot_be_made_is_an_error_of_the_engine(own_engine: Running):
    own_engine.scale("s-00000001", 1)
    (folder,) = (path.parent for path in own_engine.engine.log.parent.glob("*/s-00000001"))
    (folder / "s-00000002").write_text("in the way")
    with pytest.raises(EngineError, match="could not be opened"):
        own_engine.scale("s-00000002", 1)
    assert own_engine.info("s-00000002") is None
