"""Runs on real slices whose size changes: by their owner, a death, a claim that goes before."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Kernel, Server, serving, until
from training.helpers import counts_once

CONFIG = """
c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}
c.AIOSLab.spares = 0
c.AIOSLab.grace = 30
"""
EPOCHS, SAMPLES = 3, 96
BEGIN = """
import sys
import aios_lab as aios
sys.path.append({tests!r})
from training import functions
aios.request(workers=2, memory='500MB', priority={priority!r})
aios.client().wait_for_workers(2, timeout=120)
run = aios.train(functions.counted, wait=False, workers=2, seed=3, checkpoint_every=4, name='counted',
                 seen={seen!r}, epochs={epochs}, samples={samples}, pause={pause})
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("fair_share: {guard: 0s}\nprojects: {}\n")  # nobody is safe for his first minute
    with serving(tmp_path, config=f"{CONFIG}c.AIOSLab.quotas = {str(quotas)!r}\n") as running:
        yield running


def the_run(server: Server) -> dict[str, Any]:
    runs: list[dict[str, Any]] = server.get("aios/api/runs")
    return runs[0]


def trains(server: Server, size: int, attempt: int, steps: int = 2) -> None:
    """Wait until the run trains on so many ranks, in this attempt or a later one, for some steps."""

    def does() -> bool:
        run = the_run(server)
        assert run["ended"] is None, run["error"]
        return run["state"] == "running" and run["world_size"] == size and run["attempt"] >= attempt

    until(f"it trains on {size}", does, 60)
    goal = the_run(server)["step"] + steps
    until("some steps more", lambda: the_run(server)["step"] >= goal, 60)


def begin(kernel: Kernel, folder: Path, priority: str = "normal", pause: float = 1.0) -> Path:
    seen = folder / "seen"
    seen.mkdir()
    told = {"seen": str(seen), "epochs": EPOCHS, "samples": SAMPLES, "priority": priority, "pause": pause}
    kernel.run(BEGIN.format(tests=str(Path(__file__).parent.parent), **told))
    return seen


def result(kernel: Kernel, seen: Path) -> list[float]:
    """Let it run to its end; every sample was taken once an epoch."""
    (seen.parent / "fast").touch()
    weights: list[float] = json.loads(kernel.run("import json; print(json.dumps(run.result(120)))", 150))
    assert counts_once(seen, EPOCHS, SAMPLES)
    return weights


def test_a_run_is_resized_by_its_owner_and_recovers_from_a_killed_worker(server: Server, tmp_path: Path):
    kernel = server.kernel("train.ipynb")
    seen = begin(kernel, tmp_path)
    trains(server, 2, 0)
    kernel.run("aios.request(workers=1)")
    trains(server, 1, 1)
    kernel.run("aios.request(workers=2)")
    trains(server, 2, 2)
    pids = json.loads(
        kernel.run("import json, os; print(json.dumps([*aios.client().run(os.getpid).values()]))")
    )
    os.kill(pids[0], signal.SIGKILL)
    until("it has recovered", lambda: len(the_run(server)["resizes"]) > 2, 60)
    resized = result(kernel, seen)
    run = the_run(server)
    assert [(r["before"], r["after"]) for r in run["resizes"][:2]] == [(2, 1), (1, 2)]
    assert run["resizes"][2]["why"] == "A rank was lost."
    assert run["lost"]["steps"] <= 4 + 2
    alone = tmp_path / "alone"
    alone.mkdir()
    kernel.run(
        "alone = aios.train(functions.counted, wait=False, workers=1, seed=3, "
        f"seen={str(alone)!r}, epochs={EPOCHS}, samples={SAMPLES})"
    )
    assert resized == pytest.approx(json.loads(kernel.run("print(json.dumps(alone.result(120)))")), abs=1e-4)


def test_a_preempted_run_waits_and_goes_on_by_itself(server: Server, tmp_path: Path):
    kernel = server.kernel("train.ipynb")
    seen = begin(kernel, tmp_path, priority="low", pause=2.0)
    trains(server, 2, 0)
    other = server.kernel("urgent.ipynb")
    other.run(
        "import aios_lab as aios; aios.request(workers=2, min_workers=2, memory='500MB', priority='high'); "
        "aios.client()"
    )
    until("it waits", lambda: the_run(server)["state"] == "waiting", 60)
    assert the_run(server)["checkpoints"]
    other.run("aios.release()")
    trains(server, 2, 1)
    result(kernel, seen)
    run = the_run(server)
    assert run["state"] == "finished"
    assert run["lost"]["steps"] == 0
    assert run["lost"]["seconds"] > 0
