"""What is left when the process that an engine serves is killed: nothing, or slices for a successor."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from aios_lab.engines.base import Credentials
from aios_lab.engines.local import strays
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.engines.local.nodes import security
from aios_lab.engines.processes import MARKER, EngineId, await_end, is_forkserver, kill, marked
from engines.running import UNIT, Heard, Running
from live import until

INVENTORY = {"cpus": 8, "memory": "16GB"}
FIRST, SECOND = "s-00000001", "s-00000002"

_BROKER = textwrap.dedent("""
    import asyncio, dataclasses, json, os, sys
    sys.path.append(sys.argv.pop())
    from aios_lab.allocation.types import Resources
    from aios_lab.engines.local.engine import LocalEngine
    from aios_lab.engines.spawn import spawn

    class Deaf:
        def workers_changed(self, slice_id, workers): ...
        def computing(self, slice_id): ...
        def fenced(self, slice_id, workers, tasks): ...

    async def serve():
        folder, serves, then = sys.argv[1:]
        engine = LocalEngine({"cpus": 8, "memory": "16GB"}, folder, serves=serves)
        await engine.start(Deaf())
        unit = Resources(cpu=1000, memory=1024)
        ids = engine.survivors() or ("s-00000001", "s-00000002")
        infos = [await engine.scale(name, unit, 1) for name in ids]
        if then == "job":
            spawn("targets:rest", env={**os.environ, "PYTHONPATH": sys.path[-1]})
        if then == "grow":
            growing = asyncio.create_task(engine.scale("s-00000001", unit, 3))
            while len(engine.info("s-00000001").pids) < 3:
                await asyncio.sleep(0.001)
        print(json.dumps({
            "heavy": sorted({"torch", "distributed"} & set(sys.modules)),
            "survivors": engine.survivors(),
            "slices": {info.slice_id: dataclasses.asdict(info) for info in infos},
        }), flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())
""")


@dataclass
class Broker:
    """A process that serves two slices, its own or those that it found."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def pids(self) -> set[int]:
        return {pid for one in self.said["slices"].values() for pid in one["pids"]}

    def client(self, slice_id: str) -> Client:
        one = self.said["slices"][slice_id]
        return Client(one["address"], security=security(Credentials(**one["credentials"])), timeout=10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def broker(folder: Path, serves: str = "", then: str = "") -> Iterator[Broker]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _BROKER, str(folder), serves, then, here]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert said["heavy"] == [], "the server's process must not import torch or distributed"
            yield Broker(process, said)
        finally:
            process.kill()


def of(pid: int) -> set[int]:
    return {process for process, engine in marked() if engine.pid == pid}


def forkserver_of(pid: int) -> int:
    (server,) = {process for process in of(pid) if is_forkserver(process)}
    return server


def test_a_killed_broker_leaves_no_process(tmp_path: Path):
    with broker(tmp_path) as killed:
        assert len(killed.pids) == 4
        assert of(killed.process.pid) > killed.pids
        killed.kill()
        until("every process is gone", lambda: not of(killed.process.pid))


def test_what_nobody_takes_over_ends_by_itself(tmp_path: Path):
    with broker(tmp_path, "this ledger") as killed:
        killed.kill()
        until("every process is gone", lambda: not of(killed.process.pid), 40)


def test_a_successor_takes_slices_over_with_all_that_is_in_them(tmp_path: Path):
    """Twice in a row; whoever is connected notices nothing."""
    with broker(tmp_path, "this ledger", then="job") as first, first.client(FIRST) as client:
        kept = client.submit(lambda: 6 * 7)
        assert kept.result(30) == 42
        (job,) = of(first.process.pid) - first.pids - {forkserver_of(first.process.pid)}
        first.kill()
        assert strays.reap(tmp_path) == [], "another engine, of another server, leaves them alone"
        with broker(tmp_path, "this ledger") as second:
            assert sorted(second.said["survivors"]) == [FIRST, SECOND]
            assert second.pids == first.pids
            assert await_end([job], 30) == [], "nobody hears of a job whose server is gone"
            second.kill()
            third = Running(tmp_path, INVENTORY, serves="this ledger")
            try:
                assert sorted(third.engine.survivors()) == [FIRST, SECOND]
                assert {*third.pids(FIRST), *third.pids(SECOND)} == first.pids
                assert kept.result(30) == 42
                assert client.submit(lambda x: x + 1, kept).result(30) == 43
                grown = third.scale(FIRST, 2)
                assert (grown.workers, len(grown.pids)) == (2, 3)
                assert first.pids & set(grown.pids) == set(first.said["slices"][FIRST]["pids"])
                client.wait_for_workers(2, timeout=30)
                third.close(SECOND)
                os.kill(third.pids(FIRST)[0], 9)
                until("a loss is told", lambda: "signal 9" in third.heard.gone.get(FIRST, ""))
                assert of(first.process.pid) == {forkserver_of(first.process.pid)}
                assert third.scale(SECOND, 1).workers == 1
            finally:
                third.stop()
        assert of(first.process.pid) == set()
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_growth_under_way_comes_to_its_end_before_another_begins(tmp_path: Path):
    with broker(tmp_path, "this ledger", then="grow") as killed:
        killed.kill()
        heir = Running(tmp_path, INVENTORY, serves="this ledger")
        try:
            assert sorted(heir.engine.survivors()) == [FIRST, SECOND]
            assert heir.scale(FIRST, 2).workers == 2
            assert len(heir.pids(FIRST)) == 3
        finally:
            heir.stop()
        assert of(killed.process.pid) == set()


def test_slices_can_be_left_to_a_successor(tmp_path: Path):
    """Also one that was a spare; another spare is nobody's, and ends."""
    first = Running(tmp_path, INVENTORY, spares=1, serves="this ledger")
    first.expect(UNIT, 1)
    until("a spare is there", lambda: first.engine.pool.spares, 60)
    pids = {name: first.scale(name, 1).pids for name in (FIRST, SECOND)}
    assert first.engine.pool.hits
    first.stop(leave={FIRST})
    assert await_end(pids[SECOND], 0) == []
    second = Running(tmp_path, INVENTORY, serves="this ledger")
    try:
        assert second.engine.survivors() == (FIRST,)
        assert second.pids(FIRST) == pids[FIRST]
    finally:
        second.stop()
    assert await_end(pids[FIRST], 0) == []
    assert first.heard.gone == second.heard.gone == {}


def test_only_an_engine_of_the_same_takes_over(tmp_path: Path):
    with broker(tmp_path, "this ledger") as killed:
        killed.kill()
        other = Running(tmp_path, INVENTORY, serves="another ledger")
        assert other.engine.survivors() == ()
        other.stop()


def test_a_successor_finds_nothing_where_the_forkserver_died_too(tmp_path: Path):
    with broker(tmp_path, "this ledger") as killed:
        kill(forkserver_of(killed.process.pid))
        killed.kill()
        heir = Running(tmp_path, INVENTORY, serves="this ledger")
        try:
            assert heir.engine.survivors() == ()
            assert await_end(killed.pids, 10) == []
            assert heir.scale(FIRST, 1).workers == 1
        finally:
            heir.stop()


def test_an_engine_that_cannot_start_holds_nothing(tmp_path: Path):
    (tmp_path / "engine.log").mkdir()
    engine = LocalEngine(INVENTORY, tmp_path, serves="this ledger")
    with pytest.raises(IsADirectoryError):
        asyncio.run(engine.start(Heard()))
    assert (tmp_path / strays.folder_name("this ledger")).is_dir()
    strays.reap(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["engine.log"]


def test_what_a_killed_broker_and_forkserver_leave_the_next_engine_clears(tmp_path: Path):
    with broker(tmp_path) as killed:
        server = forkserver_of(killed.process.pid)
        stray = _marked_like(server)
        killed.process.kill()
        kill(server)
        killed.process.wait()
        until("only the stray is left", lambda: of(killed.process.pid) == {stray.pid})
    folders = [folder.name for folder in tmp_path.iterdir() if folder.is_dir()]
    assert len(folders) == 1
    assert strays.reap(tmp_path) == [stray.pid]
    assert stray.wait(10) < 0
    assert [folder for folder in tmp_path.iterdir() if folder.is_dir()] == []


def _marked_like(server: int) -> subprocess.Popen[bytes]:
    """A process that a task could have left: it has the engine's mark, but nobody kills it on a death."""
    env = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{server}/environ").read_text().split("\0") if entry
    )
    return subprocess.Popen(["sleep", "3600"], env=env, start_new_session=True)


def test_engines_of_other_containers_are_left_alone(tmp_path: Path):
    """Their pids mean other processes here, or none; their folders are in use all the same."""
    mine = EngineId.mine()
    foreign = replace(mine, pid=2**22 + 1, namespace=mine.namespace + 1)
    folder = tmp_path / strays.folder_name("theirs")
    held = strays.hold(folder)
    process = subprocess.Popen(["sleep", "3600"], env={MARKER: str(foreign)}, start_new_session=True)
    try:
        assert process.pid not in strays.reap(tmp_path)
        assert process.poll() is None
        assert folder.is_dir()
        os.close(held)
        strays.reap(tmp_path)
        assert not folder.exists()
    finally:
        process.kill()
        process.wait()


def test_living_engines_are_left_alone(tmp_path: Path):
    with broker(tmp_path) as living:
        assert not living.pids & set(strays.reap(tmp_path))
        assert of(living.process.pid) > living.pids
        assert os.listdir(tmp_path)
