"""Two Jupyter servers of one user: one broker and one ledger, whichever of them is stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websocket

from live import Kernel, Server, serving, until

CONFIG = "c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}\n"
ASK = 'import aios_lab as aios; aios.request(workers={}, memory="500MB"); client = aios.client()'
SOAK = 30.0 if os.environ.get("AIOS_SOAK") else 3.0


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "1", config=CONFIG) as server:
        yield server


@pytest.fixture
def second(first: Server, tmp_path: Path) -> Iterator[Server]:
    """Started when the first has the broker."""
    with serving(tmp_path / "2", config=CONFIG, beside=first) as server:
        yield server


def slices(server: Server) -> dict[str, dict[str, Any]]:
    """All slices as a server shows them, by notebook."""
    return {one["name"]: one for one in server.get("aios/api/slices")}


def workers(server: Server) -> tuple[int, ...]:
    return tuple(one["workers"] for _, one in sorted(slices(server).items()))


def pids(kernel: Kernel) -> list[int]:
    return sorted(eval(kernel.run("print(sorted(client.run(__import__('os').getpid).values()))")))


def most_held(first: Server) -> int:
    """The most units that all slices ever held together, by the ledger's own record."""
    database = sqlite3.connect(f"file:{first.data_dir / 'ledger.db'}?mode=ro", uri=True)
    held: dict[str, int] = {}
    most = 0
    about_slices = "select slice_id, kind, data from events where slice_id is not null order by id"
    for slice_id, kind, data in database.execute(about_slices).fetchall():
        units = {} if kind == "expired" else json.loads(data).get("units", {})
        held[slice_id] = sum(units.values())
        most = max(most, sum(held.values()))
    database.close()
    return most


def holder(first: Server) -> int:
    """The process that has the broker, by the lock on the data folder."""
    return int((first.data_dir / "server.lock").read_text() or 0)


def pid(server: Server) -> int:
    assert server.process is not None
    return server.process.pid


def test_the_second_server_uses_the_broker_of_the_first(first: Server, second: Server):
    a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
    assert holder(first) == pid(first)
    a.run(ASK.format(2))
    until("the first has all", lambda: workers(first) == (2, 0), 60)
    b.run(ASK.format(2))
    until("they share", lambda: workers(first) == workers(second) == (1, 1), 60)
    assert b.run("print(client.submit(sum, [40, 2]).result())").strip() == "42"
    assert most_held(first) == 2
    assert "a.ipynb" in b.run("%aios"), "each sees what the other holds"
    assert "b.ipynb" in a.run("%aios")
    assert "Dask" in second.text(slices(second)["b.ipynb"]["dashboard"]), "its dashboard is relayed as well"
    seen = slices(second)["a.ipynb"]
    assert seen["mine"], "it is the same person's"
    second.fetch("DELETE", f"aios/api/slices/{seen['id']}")
    until("given back from the other server", lambda: slices(first)["a.ipynb"]["dormant"], 60)
    until("the other grows", lambda: workers(second) == (0, 2), 60)
    used = [line for line in second.text("aios/api/metrics").splitlines() if line.startswith("aios_used")]
    assert 'aios_used{resource="cpus"} 2.0' in used, used
    second.fetch("POST", f"api/kernels/{b.id}/restart")
    assert slices(first)["b.ipynb"]["id"] == slices(second)["b.ipynb"]["id"]
    second.fetch("DELETE", f"api/kernels/{b.id}")
    until("its claim is over", lambda: list(slices(first)) == ["a.ipynb"], 60)


def test_what_lies_idle_at_the_second_is_lent_at_the_first_and_comes_back(tmp_path: Path):
    windows = "".join(f"c.AIOSLab.idle_after_{what} = 0.5\n" for what in ("kernel", "tasks"))
    with (
        serving(tmp_path / "1", config=CONFIG + windows) as first,
        serving(tmp_path / "2", config=CONFIG + windows, beside=first) as second,
    ):
        a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
        b.run(ASK.format(2))
        until("the second has all", lambda: workers(first) == (0, 2), 60)
        go = tmp_path / "go"
        busy = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
        with ThreadPoolExecutor(2) as background:
            cells = [background.submit(a.run, f"{ASK.format(2)}\n{busy}")]
            try:
                until("it idles, and lends all", lambda: workers(first) == (2, 0), 60)
                assert slices(second)["b.ipynb"]["parked"]
                cells.append(background.submit(b.run, busy))
                until("it runs a cell, and is back", lambda: workers(first)[1] > 0, 60)
            finally:
                go.touch()
            for cell in cells:
                cell.result(60)
        assert most_held(first) == 2


def test_kill_9_of_the_follower_leaves_nothing_of_its_kernels(first: Server, second: Server):
    a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
    b.run(ASK.format(1))
    theirs = pids(b)
    second.kill()
    until("its claim is over", lambda: list(slices(first)) == ["a.ipynb"], 60)
    until("its workers are gone", lambda: not set(theirs) & first.processes().keys(), 60)
    until("nothing of it is left", lambda: not second.processes(), 60)
    a.run(ASK.format(2))
    until("all of it is free", lambda: workers(first) == (2,), 60)


def frames(server: Server, path: str, hello: Any = None) -> Iterator[dict[str, Any]]:
    """What a websocket of a server's user says."""
    url = server.url.replace("http", "ws", 1) + path
    socket = websocket.create_connection(url, timeout=60, header=[f"Authorization: token {server.token}"])
    try:
        if hello is not None:
            socket.send(json.dumps(hello))
        while True:
            yield json.loads(socket.recv())
    finally:
        socket.close()


def test_the_panel_and_the_event_bus_of_the_second_hear_of_the_first(first: Server, second: Server):
    panel = frames(second, "aios/api/stream", {"topics": ["slices", "status"]})
    events = frames(second, "api/events/subscribe")
    shown = {(frame := next(panel))["topic"]: frame["data"] for _ in range(2)}
    assert shown["slices"] == []
    assert shown["status"]["ready"]
    opened = ThreadPoolExecutor(1).submit(next, events)
    a = first.kernel("a.ipynb")
    names = ([one["name"] for one in frame["data"]] for frame in panel if frame["topic"] == "slices")
    assert next(names) == ["a.ipynb"]
    a.run(ASK.format(1))
    loads = (one["memory_used"] for frame in panel if frame["topic"] == "slices" for one in frame["data"])
    assert next(load for load in loads if load), "what slices use is measured for watchers of both servers"
    event = opened.result(60)
    while event["schema_id"].endswith("slice/v1") and event["state"] != "active":
        event = next(events)
    assert event["slice_id"] == a.slice()["id"]


def stays(what: str, condition: Callable[[], bool]) -> None:
    """For as long as a process is stopped: 30 s in a soak, 3 s otherwise."""
    over = time.monotonic() + SOAK
    while time.monotonic() < over:
        assert condition(), f"no longer: {what}"
        time.sleep(0.1)


@pytest.mark.soak
def test_a_stopped_follower_keeps_its_slices(first: Server, second: Server):
    b = second.kernel("b.ipynb")
    b.run(ASK.format(1))
    os.kill(pid(second), signal.SIGSTOP)
    try:
        stays("it has them", lambda: workers(first) == (1,))
    finally:
        os.kill(pid(second), signal.SIGCONT)
    assert workers(second) == (1,)
    assert b.run("print(client.submit(sum, [1, 2]).result())").strip() == "3"


@pytest.mark.soak
def test_a_stopped_leader_stays_the_only_one(first: Server, second: Server):
    a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
    a.run(ASK.format(1))
    b.run(ASK.format(1))
    with ThreadPoolExecutor(1) as background:
        os.kill(pid(first), signal.SIGSTOP)
        try:
            cell = background.submit(b.run, ASK.format(2))
            stays("it has the broker", lambda: holder(first) == pid(first))
            assert b.client.is_alive()
        finally:
            os.kill(pid(first), signal.SIGCONT)
        cell.exception(60)  # the request was carried out late, or refused: the leader did not answer
    b.run(ASK.format(2))
    until("both are served", lambda: workers(first) == workers(second) == (1, 1), 60)
    assert most_held(first) == 2
    for kernel in (a, b):
        assert kernel.run("print(client.submit(sum, [1, 2]).result())").strip() == "3"


def keep_at_work(kernel: Kernel) -> list[int]:
    """Have a client, workers and a result that lies on them; the workers' processes."""
    kernel.run(ASK.format(1))
    kernel.run("future = client.submit(lambda: __import__('os').getpid(), pure=False); future.result()")
    return pids(kernel)


def goes_on(kernel: Kernel, workers: list[int]) -> None:
    """Same workers, same client, same data; and new work is done."""
    assert pids(kernel) == workers
    assert [int(kernel.run("print(future.result())"))] == workers
    assert kernel.run("print(client.submit(sum, [40, 2]).result())").strip() == "42"
    kernel.run("import aios_lab as aios; assert aios.client() is client")


def ask_on(server: Server, over: threading.Event) -> int:
    """Ask for the slices again and again; how often there were some to show."""
    shown = 0
    while not over.is_set():
        shown += bool(server.get("aios/api/slices"))
    return shown


def leads(server: Server, first: Server) -> None:
    begin = time.monotonic()
    until("it takes over", lambda: holder(first) == pid(server), 60)
    until("it is ready", lambda: server.get("aios/api/status")["ready"], 60)
    print(f"the broker is there again after {time.monotonic() - begin:.1f} s")


def test_kill_9_of_the_leader_leaves_the_others_kernels_all_they_have(first: Server, second: Server):
    a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
    of_a, of_b = keep_at_work(a), keep_at_work(b)
    assert holder(first) == pid(first)
    over = threading.Event()
    with ThreadPoolExecutor(1) as background:
        panel = background.submit(ask_on, second, over)
        first.kill()
        goes_on(b, of_b)
        leads(second, first)
        over.set()
        assert panel.result(60), "who asked meanwhile has waited, and was answered"
    until("the dead server's claims are over", lambda: list(slices(second)) == ["b.ipynb"], 60)
    until("its workers are gone", lambda: not set(of_a) & first.processes().keys(), 60)
    goes_on(b, of_b)
    assert most_held(first) == 2
    b.run(ASK.format(2))
    until("what the dead server held is free", lambda: workers(second) == (2,), 60)
    assert most_held(first) == 2
    assert {row["slice"] for row in second.leases()} == {slices(second)["b.ipynb"]["id"]}
    with serving(first.folder, config=CONFIG, beside=second) as again:
        assert list(slices(again)) == ["b.ipynb"], "the first one follows now"
        assert holder(first) == pid(second)


def test_a_leader_that_is_shut_down_leaves_the_others_kernels_all_they_have(first: Server, second: Server):
    a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
    of_a, of_b = keep_at_work(a), keep_at_work(b)
    assert first.process is not None
    first.process.terminate()
    leads(second, first)
    assert list(slices(second)) == ["b.ipynb"]
    first.process.wait(60)
    assert not set(of_a) & first.processes().keys()
    goes_on(b, of_b)
    assert most_held(first) == 2


def test_of_the_servers_that_are_left_one_takes_over_and_the_others_follow_it(
    first: Server, second: Server, tmp_path: Path
):
    with serving(tmp_path / "3", config=CONFIG, beside=first) as third:
        b, c = second.kernel("b.ipynb"), third.kernel("c.ipynb")
        of_b, of_c = keep_at_work(b), keep_at_work(c)
        first.kill()
        until("one takes over", lambda: holder(first) in (pid(second), pid(third)), 60)
        for server in (second, third):
            until("it is ready", lambda server=server: server.get("aios/api/status")["ready"], 60)
        until("both kernels are known", lambda: workers(second) == workers(third) == (1, 1), 60)
        assert sorted(slices(second)) == ["b.ipynb", "c.ipynb"]
        goes_on(b, of_b)
        goes_on(c, of_c)
        assert most_held(first) == 2


def test_what_a_parked_slice_keeps_outlives_the_broker_too(tmp_path: Path):
    windows = "".join(f"c.AIOSLab.idle_after_{what} = 0.5\n" for what in ("kernel", "tasks"))
    with (
        serving(tmp_path / "1", config=CONFIG + windows) as first,
        serving(tmp_path / "2", config=CONFIG + windows, beside=first) as second,
    ):
        a, b = first.kernel("a.ipynb"), second.kernel("b.ipynb")
        (worker,) = keep_at_work(b)
        a.client.execute(ASK.format(2) + "; import time; time.sleep(600)")  # who does nothing gets nothing
        until("it is parked", lambda: slices(second)["b.ipynb"]["parked"], 60)
        first.kill()
        leads(second, first)
        until("the dead server's claims are over", lambda: list(slices(second)) == ["b.ipynb"], 60)
        assert int(b.run("print(future.result())")) == worker
        until("it has a worker again", lambda: workers(second) == (1,), 60)
        assert b.run("print(client.submit(sum, [40, 2]).result())").strip() == "42"


RUN = """%%aios train --workers 1 --detach --name long
import time

def train(ctx):
    for step in range(100_000):
        ctx.report(step=step)
        time.sleep(0.1)
"""


def test_a_run_goes_on_while_the_broker_moves(first: Server, second: Server):
    b = second.kernel("b.ipynb")
    b.run(RUN)

    def run() -> dict[str, Any]:
        (found,) = second.get("aios/api/runs")
        return dict(found)

    until("it trains", lambda: run()["step"] > 3, 120)
    before = run()
    first.kill()
    leads(second, first)
    until("its news reach the new broker", lambda: run()["step"] > before["step"] + 3, 60)
    assert (run()["id"], run()["state"], run()["error"]) == (before["id"], "running", before["error"])
    assert slices(second)["b.ipynb"]["busy"]
    second.fetch("POST", f"aios/api/runs/{before['id']}/stop")
    until("it is stopped", lambda: run()["ended"], 60)
    assert run()["state"] == "stopped"
