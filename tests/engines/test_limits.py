"""What a worker may use, and what becomes of it, and of it alone, when its tasks start processes for ever."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from distributed import Client

from aios_lab.allocation.types import Resources
from engines.running import Running
from live import environ_of, until

# Tasks are functions within tests; what they use of this module travels with them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

MOST = 60
# It ends by itself too, after so many forks and seconds: a test that fails must not take the machine down.
FORKS, SECONDS = 1000, 120
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("engine")
    running = Running(folder, {"cpus": 8, "memory": "16GB"}, max_processes=MOST)
    yield running
    running.stop()


def bombs(mark: str) -> int:
    """Living processes of a fork bomb."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return sum(environ_of(pid).get("AIOS_BOMB") == mark for pid in pids)


def explode(shape: str, mark: str) -> str:
    """A task that starts processes for as long as it is let. Returns what it printed, were it ever to end."""
    env = {**os.environ, "AIOS_BOMB": mark, "PYTHONPATH": HERE}
    command = [
        sys.executable,
        "-c",
        "import sys, targets; targets.bomb(*map(eval, sys.argv[2:]), sys.argv[1])",
    ]
    return subprocess.run(
        [*command, shape, str(FORKS), str(SECONDS)], env=env, capture_output=True, check=False, text=True
    ).stderr


@pytest.mark.parametrize("shape", ["tree", "chain", "orphans"])
def test_a_task_that_starts_processes_without_end_is_stopped_and_only_it(engine: Running, shape: str):
    mark = secrets.token_hex(8)
    with engine.slice(2) as (slice_id, client):
        (bad, worker), (good, bystander) = client.run(os.getpid).items()
        kept = client.submit(lambda: list(range(1000)), workers=[good], pure=False)
        kept.result(30)
        task = client.submit(explode, shape, mark, workers=[bad], allow_other_workers=False)
        until("the excess is told", lambda: slice_id in engine.heard.troubles, 60)
        task.cancel()
        until("no process of it is left", lambda: bombs(mark) == 0, 30)
        ((_, event),) = client.get_events("aios")
        assert (event["event"], event["pid"], event["limit"]) == ("processes", worker, MOST)
        assert event["used"] > MOST
        assert event["message"] == engine.heard.troubles.pop(slice_id)
        assert f"processes, of the {MOST}" in event["message"]
        until("another worker took its place", lambda: len(present(client) - {worker}) == 2, 60)
        assert bystander in present(client)
        assert kept.result(30) == list(range(1000))
        print(f"\n{shape}: {event['used']} processes seen, of {MOST}; 0 left; the other worker is as it was")


def present(client: Client) -> set[int]:
    try:
        return set(client.run(os.getpid).values())
    except OSError:  # one of them has just been killed
        return set()


def test_a_spawned_process_that_starts_others_without_end_is_ended_and_its_worker_is_not(engine: Running):
    def breed(mark: str) -> int:
        from aios_lab.engines import spawn

        env = {**os.environ, "AIOS_BOMB": mark, "PYTHONPATH": HERE}
        return spawn.spawn("targets:bomb_below", b"tree %d %d" % (FORKS, SECONDS), env=env).pid

    with engine.slice(1) as (slice_id, client):
        mark = secrets.token_hex(8)
        (worker,) = client.run(os.getpid).values()
        child = client.submit(breed, mark).result(30)
        until("the excess is told", lambda: slice_id in engine.heard.troubles, 60)
        until("no process of it is left", lambda: bombs(mark) == 0, 30)
        ((_, event),) = client.get_events("aios")
        assert (event["event"], event["pid"]) == ("processes", child)
        assert present(client) == {worker}


def test_torch_within_a_task_takes_the_threads_of_its_worker(engine: Running):
    def threads() -> dict[str, object]:
        import torch

        seen: dict[str, object] = {"task": torch.get_num_threads()}

        def nested() -> None:
            seen["thread"] = torch.get_num_threads()

        below = threading.Thread(target=nested)
        below.start()
        below.join()
        code = "import torch; print(torch.get_num_threads())"
        seen["process"] = int(subprocess.check_output([sys.executable, "-c", code]))
        before = len(os.listdir("/proc/self/task"))
        big = torch.rand(700, 700)
        torch.linalg.inv(big @ big + torch.eye(700)).sum().item()
        # The calling thread is one of those that compute.
        seen["started"] = len(os.listdir("/proc/self/task")) - before + 1
        return seen

    for granted in (1, 2):
        with engine.slice(1, Resources(cpu=1000 * granted, memory=2048)) as (_, client):
            seen = client.submit(threads).result(120)
            assert seen["task"] == seen["thread"] == granted, seen
            assert seen["process"] == min(granted, os.cpu_count() or 1), seen
            assert seen["started"] <= granted, seen
