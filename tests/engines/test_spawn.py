"""Processes from the forkserver: what they get, how they end, and what goes with them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from aios_lab.engines import spawn
from aios_lab.engines.processes import EngineId, await_end, marked, start_time
from live import until

HERE = str(Path(__file__).parent)

pytestmark = pytest.mark.usefixtures("forkserver")


def start(target: str, payload: bytes = b"", fds: dict[str, int] | None = None, **env: str) -> spawn.Child:
    return spawn.spawn(f"targets:{target}", payload, fds, env={**os.environ, "PYTHONPATH": HERE, **env})


def echo(payload: bytes = b"", **env: str) -> tuple[int, dict[str, Any]]:
    read, write = os.pipe()
    child = start("echo", payload, {"out": write}, **env)
    os.close(write)
    with open(read) as file:
        return child.join(60), json.loads(file.read())


def litter(payload: bytes = b"") -> spawn.Child:
    """A child that has already started others in every way."""
    read, write = os.pipe()
    child = start("litter", payload, {"out": write})
    os.close(write)
    with open(read) as file:
        assert file.read(5) == "ready"
    return child


def mine() -> set[int]:
    """All living processes that come from this process's forkserver, itself among them."""
    return {pid for pid, engine in marked() if engine.pid == os.getpid()}


def test_a_child_gets_what_it_was_given_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, seen = echo(b"x" * 30_000_000, COLOUR="green", OMP_NUM_THREADS="2")
    assert code == 7
    assert seen["size"] == 30_000_000
    assert seen["cwd"] == str(tmp_path)
    assert seen["env"] == "green"
    assert seen["threads"] == 2
    assert seen["session"]
    open_fds = set(seen["fds"]) - {0, 1, 2, seen["out"]}
    assert len(open_fds) <= 2, "its request socket, and the listing itself"


def test_the_forkserver_is_warm_has_one_thread_and_never_touched_cuda():
    _, seen = echo()
    assert seen["warm"]
    assert seen["parent_threads"] == 1
    assert not seen["cuda"]
    assert not seen["parent_maps_cuda"]


def test_siblings_draw_different_random_numbers():
    drawn = [echo()[1]["random"] for _ in range(2)]
    assert all(first != second for first, second in zip(*drawn, strict=True))


def test_streams_go_where_they_are_sent():
    read, write = os.pipe()
    child = start("shout", fds={"stdout": write, "stderr": write})
    os.close(write)
    with open(read) as file:
        assert sorted(file.read().split("\n")) == ["", "to stderr", "to stdout"]
    assert child.join(60) == 0


@pytest.mark.parametrize(("target", "code"), [("fail", 1), ("leave", 5), ("no_such_function", 1)])
def test_exit_codes(target: str, code: int):
    assert start(target).join(60) == code


def test_wait_is_bounded_and_kill_shows_as_a_signal():
    async def scenario() -> int:
        child = start("rest")
        with pytest.raises(TimeoutError):
            await child.wait(0.05)
        child.kill()
        both = await asyncio.gather(child.wait(60), child.wait(60))
        assert both[0] == both[1]
        return both[0]

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_a_killed_process_takes_along_all_that_it_started():
    start("leave").join(60)
    before = mine()
    child = litter()
    # A process is without an environment, by which it is known, for a moment while it execs.
    until("itself, one it spawned, a daemon, a session leader", lambda: len(mine() - before) == 4)
    os.kill(child.pid, signal.SIGKILL)
    assert child.join(60) == -signal.SIGKILL
    assert mine() == before


def test_a_process_that_ends_well_leaves_nothing_either():
    start("leave").join(60)
    before = mine()
    assert litter(b"end").join(60) == 0
    assert mine() == before


def test_many_deaths_at_once_harm_nobody_else():
    bystander = start("rest")
    for _ in range(10):
        children = [start("rest") for _ in range(12)]
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
        assert [(child.join(30), child.told) for child in children] == [(-signal.SIGKILL, True)] * 12
    assert bystander.poll() is None
    bystander.kill()
    bystander.join(10)


def test_the_end_of_a_process_is_awaited_whoever_reaps_it():
    process = subprocess.Popen(["sleep", "3600"])
    try:
        assert await_end([process.pid], 0.1) == [process.pid]
        process.kill()
        assert await_end([process.pid], 10) == []
        assert start_time(process.pid) is not None  # nobody has reaped it
    finally:
        process.kill()
        process.wait()
    assert await_end([process.pid], 0) == []


def test_a_family_is_known_to_its_head():
    child = litter()
    try:
        family = spawn.family()
        assert family[child.pid] == 0
        assert child.pid in family.values()
    finally:
        child.kill()
        child.join(60)


def test_a_refused_request_harms_nobody():
    child = start("rest")
    too_many = {str(number): 0 for number in range(100)}
    with pytest.raises(spawn.SpawnError):
        start("rest", fds=too_many)
    assert child.poll() is None
    child.kill()
    assert child.join(60) == -signal.SIGKILL


def test_a_malformed_request_harms_nobody(tmp_path: Path):
    """Of anybody who can send one: one too deep to be read, and one whose fate can be written nowhere."""
    child = start("rest")
    line = spawn._connected()
    deep, plain = tmp_path / "deep", tmp_path / "plain"
    deep.write_text("[" * 1_000_000)
    request = {
        "op": "spawn",
        "target": "targets:leave",
        "fds": [],
        "cwd": HERE,
        "requests": False,
        "ready": False,
    }
    plain.write_text(json.dumps(request | {"env": {**os.environ, "PYTHONPATH": HERE}}))
    with deep.open("rb") as first, plain.open("rb") as second, open(os.devnull, "rb") as nowhere:
        for header in (first, second):
            fds = [header.fileno(), nowhere.fileno(), nowhere.fileno()]
            socket.send_fds(line._channel, [b"?"], fds)
        until("it ran and is buried", lambda: spawn.family().keys() == {child.pid})
    assert _exit_code("leave") == 5
    assert child.poll() is None
    child.kill()
    assert child.join(60) == -signal.SIGKILL


def test_when_the_forkserver_is_killed_its_children_go_and_the_next_spawn_has_a_new_one():
    child = start("rest")
    (server,) = {pid for pid in mine() if spawn.family().get(pid) is None}
    os.kill(server, signal.SIGKILL)
    assert child.join(60) == -signal.SIGKILL
    assert not child.told
    until("the child ends", lambda: start_time(child.pid) is None)
    until("a new forkserver serves", lambda: _exit_code("leave") == 5)


def _exit_code(target: str) -> int | None:
    try:
        return start(target).join(60)
    except spawn.SpawnError:
        return None


def test_where_there_was_no_forkserver_nothing_outlives_a_killed_process():
    script = textwrap.dedent("""
        import os, time
        from aios_lab.engines import spawn
        read, write = os.pipe()
        spawn.spawn("targets:litter", fds={"out": write})
        os.read(read, 5)
        print("ready", flush=True)
        time.sleep(3600)
    """)
    env = {**os.environ, "PYTHONPATH": HERE}
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        left = _serving(process.pid)
        assert len(left) == 5, "the forkserver and the four of litter"
        process.kill()
    until("all are gone", lambda: not _serving(process.pid))


def _serving(pid: int) -> list[EngineId]:
    return [engine for _, engine in marked() if engine.pid == pid]
