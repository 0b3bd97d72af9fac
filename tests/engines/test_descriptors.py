"""A process of the engine that may open no more files: it says so, loses nothing, and goes on when it may."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from aios_lab.engines.base import EngineError
from aios_lab.engines.processes import await_end, marked, start_time
from engines.running import Running
from live import until


@contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    """Lower a living process's limit to the descriptors that it has open."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    lowest_free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def forkserver_of(engine: Running, slice_id: str) -> int:
    pids = set(engine.pids(slice_id))
    (engine_id,) = {one for pid, one in marked() if pid in pids}
    (server,) = {pid for pid, one in marked() if one == engine_id} - pids
    return server


def test_a_forkserver_without_descriptors_refuses_keeps_its_slices_and_reaps_the_dead(own_engine: Running):
    own_engine.scale("s-00000001", 2)
    host, *workers = own_engine.pids("s-00000001")
    server = forkserver_of(own_engine, "s-00000001")
    with no_descriptor_left(server):
        with pytest.raises(EngineError, match="could not be opened"):
            own_engine.scale("s-00000002", 1)
        with pytest.raises(EngineError, match="could not be started"):
            own_engine.scale("s-00000001", 3)
        assert [start_time(pid) is not None for pid in (server, host, *workers)] == [True] * 4
        os.kill(workers[0], signal.SIGKILL)
        assert await_end([workers[0]], 30) == []
    until("another took its place", lambda: own_engine.heard.workers["s-00000001"] == 2, 60)
    assert "too many" in own_engine.engine.log.read_text()
    assert own_engine.scale("s-00000002", 1).workers == 1
    assert own_engine.scale("s-00000001", 3).workers == 3
    own_engine.close("s-00000001")
    own_engine.close("s-00000002")
    assert {pid for pid, one in marked() if one.pid == os.getpid()} == {server}


def test_a_slice_host_without_descriptors_cannot_grow_and_keeps_what_it_has(own_engine: Running):
    info = own_engine.scale("s-00000001", 1)
    with own_engine.client(info) as client:
        kept = client.submit(sum, [40, 2])
        assert kept.result(30) == 42
        with no_descriptor_left(info.pids[0]):
            with pytest.raises(EngineError, match="no file can be opened any more"):
                own_engine.scale("s-00000001", 2)
            assert own_engine.info("s-00000001").workers == 1
            assert client.submit(sum, [1, 2]).result(30) == 3
        assert own_engine.scale("s-00000001", 2).workers == 2
        assert kept.result(30) == 42


def test_an_engine_without_descriptors_says_what_to_do_and_comes_back(own_engine: Running):
    info = own_engine.scale("s-00000001", 1)
    server = forkserver_of(own_engine, "s-00000001")
    with no_descriptor_left(os.getpid()):
        with pytest.raises(EngineError, match="ulimit -n"):
            own_engine.scale("s-00000002", 1)
        os.kill(server, signal.SIGKILL)
        with pytest.raises(EngineError):
            own_engine.scale("s-00000002", 1)
    until("the loss is told", lambda: "s-00000001" in own_engine.heard.gone, 60)
    assert await_end(info.pids, 0) == []
    until("a forkserver serves again", lambda: opened(own_engine, "s-00000002"), 120)
    assert own_engine.info("s-00000002").workers == 1


def opened(engine: Running, slice_id: str) -> bool:
    try:
        return engine.scale(slice_id, 1).workers == 1
    except EngineError:
        return False
