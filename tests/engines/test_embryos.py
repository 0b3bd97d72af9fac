"""Processes that are kept ready: they become what they are told, are nobody's before, and are replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from aios_lab.engines import spawn
from aios_lab.engines.local.launch import launch
from aios_lab.engines.processes import EngineId, children, of_engine, start_time
from engines.running import Running
from live import until

HERE = str(Path(__file__).parent)

# Tasks are functions within tests; what they use of this module travels with them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass
class Forkserver:
    process: subprocess.Popen[bytes]
    spawner: spawn.Spawner
    engine: EngineId

    def embryos(self) -> set[int]:
        """Its children that nobody asked for."""
        return {*children(self.process.pid)} - self.spawner.family().keys()

    def all_ready(self, count: int = 2) -> set[int]:
        until(f"{count} are ready", lambda: self.spawner.embryos(60)["ready"] == count, seconds=60)
        return self.embryos()

    def start(self, target: str, fds: dict[str, int] | None = None, **env: str) -> spawn.Child:
        environment = {**os.environ, "PYTHONPATH": HERE, **env}
        return self.spawner.spawn(f"targets:{target}", b"given", fds, env=environment, ready=True)

    def echo(self, **env: str) -> tuple[int, dict[str, Any]]:
        """The pid, and what it saw."""
        read, write = os.pipe()
        child = self.start("echo", {"out": write}, **env)
        os.close(write)
        with open(read) as file:
            seen = json.loads(file.read())
        assert child.join(60) == 7
        return child.pid, seen


def launched(folder: Path, *preload: str) -> Iterator[Forkserver]:
    engine = EngineId.mine()
    channel, process = launch(engine, folder / "log", preload, embryos=2)
    spawner = spawn.Spawner(channel)
    try:
        yield Forkserver(process, spawner, engine)
    finally:
        spawner.close()
        process.wait(60)
    until("nothing of it is left", lambda: not of_engine(engine))


@pytest.fixture
def forkserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forkserver]:
    monkeypatch.setenv("SECRET", "of the one that started it")
    yield from launched(tmp_path)


def test_it_becomes_what_it_is_told_and_knows_nothing_else(
    forkserver: Forkserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ready = forkserver.all_ready()
    monkeypatch.delenv("SECRET")
    monkeypatch.chdir(tmp_path)
    pid, seen = forkserver.echo(COLOUR="green", OMP_NUM_THREADS="2")
    assert pid in ready
    assert seen["size"] == len(b"given")
    assert (seen["env"], seen["secret"], seen["cwd"]) == ("green", None, str(tmp_path))
    assert seen["threads"] == 2
    assert seen["session"]
    assert not seen["cuda"]
    open_fds = set(seen["fds"]) - {0, 1, 2, seen["out"]}
    assert len(open_fds) <= 2, "its request socket, and the listing itself"
    other, its = forkserver.echo()
    assert other in ready - {pid}
    assert all(one != another for one, another in zip(seen["random"], its["random"], strict=True))
    assert its["threads"] == 1
    assert forkserver.spawner.embryos()["hits"] == 2


def test_who_comes_when_none_is_left_is_served_all_the_same_and_others_follow(forkserver: Forkserver):
    ready = forkserver.all_ready()
    started = [forkserver.start("rest") for _ in range(3)]
    assert {child.pid for child in started} > ready
    assert forkserver.spawner.family().keys() == {child.pid for child in started}
    counts = forkserver.spawner.embryos()
    assert counts["hits"] + counts["misses"] == 3
    assert not forkserver.all_ready() & ready
    for child in started:
        child.kill()
        assert child.join(60) == -signal.SIGKILL


def test_what_it_starts_goes_with_it(forkserver: Forkserver):
    ready = forkserver.all_ready()
    before = len(of_engine(forkserver.engine))
    read, write = os.pipe()
    child = forkserver.start("litter", {"out": write})
    os.close(write)
    with open(read) as file:
        assert file.read(5) == "ready"
    assert child.pid in ready
    assert forkserver.spawner.family()[child.pid] == 0
    until(
        "one it spawned, a daemon, a session leader", lambda: len(of_engine(forkserver.engine)) >= before + 3
    )
    child.kill()
    assert child.join(60) == -signal.SIGKILL
    forkserver.all_ready()
    until("its own place is taken, the rest is gone", lambda: len(of_engine(forkserver.engine)) == before)


def test_one_that_is_killed_is_replaced_and_nobody_hears_of_it(forkserver: Forkserver):
    first, second = forkserver.all_ready()
    os.kill(first, signal.SIGKILL)
    until("it is gone", lambda: start_time(first) is None)
    assert forkserver.echo()[0] == second
    assert not forkserver.all_ready() & {first, second}
    assert forkserver.spawner.family() == {}


def test_nobody_may_kill_one_or_see_it_in_a_family(forkserver: Forkserver):
    ready = forkserver.all_ready()
    for pid in ready:
        forkserver.spawner.kill(pid)
    assert forkserver.spawner.family() == {}
    assert forkserver.embryos() == ready


def test_with_the_forkserver_all_of_them_go(forkserver: Forkserver):
    ready = forkserver.all_ready()
    forkserver.process.kill()
    until("they are gone", lambda: all(start_time(pid) is None for pid in ready))


def test_there_are_none_when_memory_is_short(tmp_path: Path):
    for forkserver in launched(tmp_path, "engines.scarce"):
        assert forkserver.echo()[1]["warm"]
        assert forkserver.embryos() == set()
        assert forkserver.spawner.embryos() == {"ready": 0, "hits": 0, "misses": 1}


def test_where_none_comes_to_life_processes_are_forked_as_ever(tmp_path: Path):
    for forkserver in launched(tmp_path, "engines.stillborn"):
        assert forkserver.echo()[1]["warm"]
        until("the log says why", lambda: "this is meant" in (tmp_path / "log").read_text(), seconds=60)
        assert forkserver.echo()[1]["warm"]
        counts = forkserver.spawner.embryos()
        assert (counts["ready"], counts["hits"], counts["misses"]) == (0, 0, 2)


def test_a_slice_grows_by_them_and_a_spare_slice_leaves_them_alone(tmp_path: Path):
    running = Running(tmp_path, {"cpus": 8, "memory": "16GB"}, spares=1, spare_processes=2)
    try:
        forkserver = running.engine._running()

        def counts() -> dict[str, int]:
            return forkserver.spawner.embryos(60)

        with running.slice(1) as (slice_id, client):
            before = counts()
            assert before["hits"] + before["misses"] == 2, "for the host and the worker"
            until("two are ready", lambda: counts()["ready"] == 2, seconds=60)
            ready = {*children(forkserver.pid)} - forkserver.spawner.family().keys()
            until("a spare slice is ready", lambda: running.engine.pool.spares, seconds=60)
            first = set(running.pids(slice_id))
            running.scale(slice_id, 3)
            assert counts()["hits"] == before["hits"] + 2
            grown = set(running.pids(slice_id)) - first
            assert grown == ready
            assert set(client.run(lambda: os.environ["AIOS_SLICE"]).values()) == {slice_id}
            assert set(client.nthreads().values()) == {1}
        until("they are gone with it", lambda: all(start_time(pid) is None for pid in grown))
        assert running.heard.gone == {}
    finally:
        running.stop()
