"""What is left when the process that an engine serves is killed: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aios_lab.engines.local import strays
from aios_lab.engines.processes import MARKER, EngineId, kill, marked
from live import until

_BROKER = textwrap.dedent("""
    import asyncio, os, sys
    from aios_lab.allocation.types import Resources
    from aios_lab.engines.local.engine import LocalEngine

    class Deaf:
        def workers_changed(self, slice_id, workers): ...
        def computing(self, slice_id): ...
        def fenced(self, slice_id, workers, tasks): ...

    async def serve():
        engine = LocalEngine({"cpus": 4, "memory": "8GB"}, sys.argv[1])
        await engine.start(Deaf())
        unit = Resources(cpu=1000, memory=1024)
        infos = [await engine.scale(name, unit, 1) for name in ("s-00000001", "s-00000002")]
        heavy = {"torch", "distributed"} & set(sys.modules)
        print(len(heavy), *(pid for info in infos for pid in info.pids), flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())
""")


@contextmanager
def broker(folder: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """A process that serves two slices, and the pids of these."""
    command = [sys.executable, "-c", _BROKER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            heavy, *pids = process.stdout.readline().split()
            assert heavy == "0", "the server's process must not import torch or distributed"
            yield process, set(map(int, pids))
        finally:
            process.kill()


def of(pid: int) -> set[int]:
    return {process for process, engine in marked() if engine.pid == pid}


def test_a_killed_broker_leaves_no_process(tmp_path: Path):
    with broker(tmp_path) as (process, pids):
        assert len(pids) == 4
        assert of(process.pid) > pids
        process.kill()
        process.wait()
        until("every process is gone", lambda: not of(process.pid))


def test_what_a_killed_broker_and_forkserver_leave_the_next_engine_clears(tmp_path: Path):
    with broker(tmp_path) as (process, pids):
        (server,) = of(process.pid) - pids
        stray = _marked_like(server)
        process.kill()
        kill(server)
        process.wait()
        until("only the stray is left", lambda: of(process.pid) == {stray.pid})
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
    """Their pids mean other processes here, or none."""
    mine = EngineId.mine()
    foreign = replace(mine, pid=2**22 + 1, namespace=mine.namespace + 1)
    folder = tmp_path / strays.folder_name(foreign)
    folder.mkdir()
    process = subprocess.Popen(["sleep", "3600"], env={MARKER: str(foreign)}, start_new_session=True)
    try:
        assert process.pid not in strays.reap(tmp_path)
        assert process.poll() is None
        assert folder.is_dir()
    finally:
        process.kill()
        process.wait()


def test_living_engines_are_left_alone(tmp_path: Path):
    with broker(tmp_path) as (process, pids):
        assert not pids & set(strays.reap(tmp_path))
        assert of(process.pid) > pids
        assert os.listdir(tmp_path)
