"""Detached runs: they outlive their kernel, the browser and the server, and end with nothing left."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aios_lab.engines.local.succession import ADOPT
from live import Kernel, Server, answer_of, serving, until

CONFIG = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n"
DETACHED = """%%aios train --workers {workers} --detach --name {name} --set seconds={seconds}
import os, time

def train(ctx, seconds=3600):
    print("pid", os.getpid())
    ctx.progress(total_steps=20 * seconds)
    for step in range(20 * seconds):
        ctx.report(loss=1.0 / (step + 1))
        if ctx.rank == 0 and step % 20 == 0:
            print("second", step // 20)
        time.sleep(0.05)
    return step
"""


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path, config=CONFIG) as running:
        yield running


def begin(server: Server, seconds: int = 3600, workers: int = 2, name: str = "long") -> tuple[Kernel, str]:
    """A kernel and the id of its detached run, which trains."""
    kernel = server.kernel("a.ipynb" if name == "long" else f"{name}.ipynb")
    kernel.run(f"import aios_lab as aios; aios.request(workers={workers}, memory='500MB', cpus=1)")
    kernel.run(DETACHED.format(seconds=seconds, workers=workers, name=name))
    run_id = kernel.run("print(run.id)").strip()
    until("it trains", lambda: run_of(server, run_id)["step"] > 5, 90)
    return kernel, run_id


def run_of(server: Server, run_id: str) -> dict[str, Any]:
    return dict(server.get(f"aios/api/runs/{run_id}"))


def goes_on(server: Server, run_id: str, more: int = 20) -> None:
    """The run trains, as the server says, and has not begun anew."""
    before = run_of(server, run_id)
    until("it trains on", lambda: run_of(server, run_id)["step"] > before["step"] + more, 60)
    assert (before["state"], before["detached"], before["error"]) == ("running", True, "")


def is_whole(server: Server, run_id: str) -> None:
    """Each step is in the record once, in order."""
    lines = (server.data_dir / "runs" / run_id / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == run_of(server, run_id)["step"]


def stopped(server: Server, run_id: str) -> None:
    server.fetch("POST", f"aios/api/runs/{run_id}/stop")
    until("it is stopped", lambda: run_of(server, run_id)["ended"], 30)
    assert run_of(server, run_id)["state"] == "stopped"


def nothing_is_left(server: Server) -> None:
    until("no unit is held", lambda: server.get("aios/api/cluster")["used"]["cpus"] == 0, 30)
    until("no rank is left", lambda: not ranks(server), 15)


def ranks(server: Server, run_id: str = "*") -> set[int]:
    """Processes of runs, or of this one, that live; each has said its pid."""
    logs = (server.data_dir / "runs").glob(f"{run_id}/rank*.log")
    return {int(log.read_text().split()[1]) for log in logs} & set(server.processes())


def given_up(server: Server, run_id: str) -> bool:
    """Whether the ledger says that the slice of a run has lost its owner."""
    wanted = "select 1 from events where kind = 'orphaned' and slice_id = ?"
    with closing(sqlite3.connect(server.data_dir / "ledger.db", timeout=10)) as ledger:
        return bool(ledger.execute(wanted, [run_of(server, run_id)["slice_id"]]).fetchone())


def test_it_outlives_a_restart_and_the_end_of_its_kernel(server: Server) -> None:
    kernel, run_id = begin(server)
    server.fetch("POST", f"api/kernels/{kernel.id}/restart")
    answer_of(kernel.client)
    goes_on(server, run_id)
    kernel.run("import aios_lab as aios; run = aios.attach()")
    assert kernel.run("print(run.id, run.state)").split() == [run_id, "running"]
    assert kernel.run("print(len(aios.client().scheduler_info()['workers']))").split()[-1] == "2"
    os.kill(kernel.pid(), signal.SIGKILL)
    answer_of(kernel.client)
    goes_on(server, run_id)
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    goes_on(server, run_id)
    other = server.kernel("b.ipynb")
    other.run("import aios_lab as aios; run = aios.attach('long')")
    steps = [int(step) for step in other.run("print(*[s for s, _ in run.metrics()['loss']])").split()]
    assert steps == list(range(1, len(steps) + 1))
    assert "second 0" in other.run("print(run.logs(0))")
    other.run("run.cancel(); run.wait(30)")
    assert run_of(server, run_id)["state"] == "stopped"
    is_whole(server, run_id)
    nothing_is_left(server)
    assert [one["kernel_id"] for one in server.get("aios/api/slices")] == [other.id]


def test_it_goes_on_until_its_end_and_gives_its_result_to_whoever_attaches(server: Server) -> None:
    kernel, run_id = begin(server, seconds=12)
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    other = server.kernel("b.ipynb")
    text = other.run(f"%aios attach {run_id}")
    assert "long: finished on 2 ranks" in text
    assert other.run("print(run.result(), run.view().step)").split() == ["239", "240"]
    is_whole(server, run_id)
    nothing_is_left(server)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_it_outlives_the_server_and_the_next_one_has_it_again(server: Server, how: str) -> None:
    _, run_id = begin(server)
    _, shorter = begin(server, seconds=round(2 * ADOPT), workers=1, name="shorter")
    if how == "kill":
        server.kill()
    else:
        assert server.process is not None
        server.process.terminate()
        server.process.wait(60)
    until("a run that outlived what waits for a moment has ended", lambda: not ranks(server, shorter), 60)
    assert len(ranks(server, run_id)) == 2
    server.start()
    goes_on(server, run_id)
    until("the end of the other one is known", lambda: run_of(server, shorter)["state"] == "finished", 30)
    kernel = server.kernel("b.ipynb")
    kernel.run("import aios_lab as aios; run = aios.attach()")
    assert kernel.run("print(run.id, run.state)").split() == [run_id, "running"]
    until("nobody waits for its old kernel any more", lambda: given_up(server, run_id), 60)
    goes_on(server, run_id)
    stopped(server, run_id)
    is_whole(server, run_id)
    nothing_is_left(server)


def test_it_ends_without_a_server_and_the_next_one_knows_how(server: Server) -> None:
    _, run_id = begin(server, seconds=15)
    server.kill()
    until("every process is gone", lambda: not server.processes(), 60)
    server.start()
    run = run_of(server, run_id)
    assert (run["state"], run["step"], run["error"]) == ("finished", 300, "")
    assert "[rank 0] second 14" in run["log_tail"]
    is_whole(server, run_id)
    kernel = server.kernel("b.ipynb")
    assert kernel.run(f"import aios_lab as aios\nprint(aios.attach({run_id!r}).result())").strip() == "299"
    nothing_is_left(server)
