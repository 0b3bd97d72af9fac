"""The ledger's disk is full, or another locks it: requests are refused with what to do, all else goes on."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aios_lab.broker import Ledger
from broker.records import events
from claims import Claim, Resting
from live import HTTPProblem, until

CONFIG = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of one megabyte at ``folder``."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Callable[[], None]:
    """Take all room that is left; the result makes it again."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler.unlink


def limit(server: Resting, ledger: Path) -> Callable[[], None]:
    """Let the server's process write no file beyond the size that the ledger's log has now."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    now = Path(f"{ledger}-wal").stat().st_size
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (now, before[1]))

    def lift() -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)

    return lift


@pytest.mark.parametrize("how", ["a full disk", "a quota"])
def test_a_ledger_that_cannot_grow(tmp_path: Path, how: str):
    with small_disk(tmp_path / "disk") if how == "a full disk" else _a_folder(tmp_path / "disk"):
        path = tmp_path / "disk" / "ledger.db"
        server = Resting(tmp_path, CONFIG + f"c.AIOSLab.ledger_url = 'sqlite:///{path}'\n")
        try:
            server.start()
            running, other, dying = server.claim(), server.claim(), server.claim()
            for claim in (running, dying):
                claim.ask(1)
                claim.reaches("active", 1)
            workers = set(server.engine_processes())
            mend = fill(path.parent) if how == "a full disk" else limit(server, path)
            written = len(events(Ledger(path)))
            problem = refused(running, 2)
            assert (problem.status, problem.body["reason"]) == (409, "ledger_unavailable")
            assert "nothing was changed" in problem.body["message"]
            assert "Make room on its disk" in problem.body["hint"]
            for call in (running.release, other.activate):
                with pytest.raises(HTTPProblem, match="409"):
                    call()
            told = until("the status says so", lambda: server.get("aios/api/status")["problems"], 30)
            assert [one["reason"] for one in told] == ["ledger_unavailable"]
            view = running.view()
            assert (view["state"], view["workers"], view["max_workers"]) == ("active", 1, 1), (
                "nothing changed"
            )
            assert workers == set(server.engine_processes())
            kernel = server.fetch("POST", "api/kernels", {"name": "rest"})["id"]
            assert server.slice_of(kernel) is None, "a kernel starts all the same, without a slice"
            # A kernel that ends takes its processes with it, whether or not that can be written down.
            dying.end()
            until("its processes are gone", lambda: len(server.engine_processes()) == len(workers) - 2, 60)
            assert len(events(Ledger(path))) == written
            mend()
            until("its end is written", lambda: dying.id not in server.ids(), 60)
            until("the status is well", lambda: not server.get("aios/api/status")["problems"], 60)
            running.ask(2)
            running.reaches("active", 2)
            other.activate()
            other.reaches("active", 1)
            claims_and_leases_agree(path)
            kept = {event.slice_id for event in events(Ledger(path)) if event.slice_id}
            assert {running.id, other.id, dying.id} == kept
            print(f"{how}: 3 requests refused, 0 lost, {written} lines kept, all goes on")
        finally:
            server.stop()


@contextmanager
def _a_folder(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


def refused(claim: Claim, workers: int) -> HTTPProblem:
    with pytest.raises(HTTPProblem) as caught:
        claim.ask(workers)
    return caught.value


def claims_and_leases_agree(path: Path) -> None:
    with sqlite3.connect(path) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        held = "SELECT slice_id, sum(units) FROM leases GROUP BY slice_id ORDER BY slice_id"
        claimed = (
            "SELECT slice_id, value FROM claims, json_each(claims.data, '$.units')"
            " WHERE state NOT IN ('released', 'expired') ORDER BY slice_id"
        )
        assert ledger.execute(held).fetchall() == ledger.execute(claimed).fetchall()


LOCK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60) as ledger:
    ledger.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.read()
    ledger.execute("ROLLBACK")
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            other.communicate()


def test_a_ledger_that_another_process_locks(tmp_path: Path):
    server = Resting(tmp_path, CONFIG)
    path = server.data_dir / "ledger.db"
    try:
        server.start()
        claims = [server.claim() for _ in range(6)]
        for claim in claims[:4]:
            claim.ask(1)
        for claim in claims[:4]:
            claim.reaches("active", 1)
        with locked(path):
            problem = refused(claims[0], 2)
            assert (problem.status, problem.body["reason"]) == (409, "ledger_unavailable")
            assert "locked" in problem.body["message"]
            assert "backup" in problem.body["hint"]
            # Ends that cannot be written are tried again and again; what others ask is answered meanwhile.
            for claim in claims[:3]:
                claim.end()
            os.kill(claims[3].kernel_pid(), signal.SIGKILL)
            until("all processes are gone", lambda: len(server.engine_processes()) == 1, 60)
            assert {one["id"] for one in server.get("aios/api/slices")} == {one.id for one in claims}
            status = until("the status says so", lambda: server.get("aios/api/status")["problems"], 30)
            assert [one["reason"] for one in status] == ["ledger_unavailable"]
            slowest, mean = answers(server, 200)
            kernel = server.fetch("POST", "api/kernels", {"name": "rest"})["id"]
            assert server.slice_of(kernel) is None
        until("the ends are written", lambda: server.ids() == {one.id for one in claims[3:]}, 60)
        until("the dead kernel's claim sleeps", lambda: claims[3].view()["dormant"], 60)
        until("the status is well", lambda: not server.get("aios/api/status")["problems"], 60)
        claims[4].ask(4)
        claims[4].reaches("active", 4)
        claims_and_leases_agree(path)
        assert server.held() == 4
        print(f"locked: 200 answers meanwhile, {1000 * mean:.0f} ms on average, {1000 * slowest:.0f} at most")
    finally:
        server.stop()


def answers(server: Resting, times: int) -> tuple[float, float]:
    """The slowest and the mean of so many answers, in seconds."""

    def one(_: int) -> float:
        began = time.monotonic()
        server.get("aios/api/slices")
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as pool:
        took = list(pool.map(one, range(times)))
    return max(took), sum(took) / len(took)


def test_an_exclusive_lock_at_the_start_is_said_and_kernels_work(tmp_path: Path):
    server = Resting(tmp_path, CONFIG)
    path = server.data_dir / "ledger.db"
    try:
        server.start()
        server.kill()
        for pid in server.processes():
            os.kill(pid, signal.SIGKILL)
        with locked(path):
            server.start(wait=False)
            until("the server answers", server._answers, 60)
            (problem,) = until("it says why", lambda: server.get("aios/api/status")["problems"], 60)
            assert problem["reason"] == "ledger_unavailable"
            kernel = server.fetch("POST", "api/kernels", {"name": "rest"})["id"]
            assert server.get(f"api/kernels/{kernel}")["id"] == kernel
    finally:
        server.stop()
