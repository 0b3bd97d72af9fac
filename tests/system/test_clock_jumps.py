"""The clock jumps by hours, forward and back, under a server: nothing expires, nothing is given twice."""

from __future__ import annotations

import math
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios_lab.broker import Ledger
from aios_lab.broker.history import read_history
from broker.records import living_leases
from claims import Resting
from live import until

HOURS = 3600
CLOCK = Path(__file__).parents[1] / "clock.c"


class Clock:
    """The time of day of a server and of all that it starts; ``library`` is loaded before libc."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.library = folder / "clock.so"
        self.set(0)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("there is no C compiler")
        build = [compiler, "-shared", "-fPIC", "-O2", "-o", self.library, CLOCK, "-ldl"]
        subprocess.run(build, check=True)

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "TEST_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """So many seconds ahead of the machine's clock from now on."""
        with open(os.open(self._file, os.O_RDWR | os.O_CREAT), "wb") as file:
            file.write(struct.pack("@l", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Resting]:
    server = Resting(tmp_path, "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n", env=clock.env)
    try:
        yield server.start()
    finally:
        server.stop()


def test_nothing_expires_and_nothing_is_given_twice(server: Resting, clock: Clock):
    ledger = Ledger(server.data_dir / "ledger.db")
    holder, waiter, late = (server.claim() for _ in range(3))
    holder.ask(3, min_workers=3, preemptible=False)
    holder.reaches("active", 3)
    waiter.ask(2, min_workers=2)
    waiter.reaches("requested", 0)
    processes = server.engine_processes()
    for hours in (5, -5, 48):
        clock.set(hours * HOURS)
        begin = holder.view()["since"]
        until("a heartbeat by the new clock", lambda hours=hours: beats(ledger, hours), 60)
        assert (holder.view()["state"], holder.view()["since"]) == ("active", begin)
        assert (waiter.view()["state"], waiter.view()["workers"]) == ("requested", 0)
        assert waiter.view()["reason"]
        assert server.engine_processes() == processes, "the same ones, not one more or less"
        assert sum(lease.units for lease in living_leases(ledger, 0)) == 3
        sane(server, waiter.id)
        # What is born now has a certificate of now, and its peers check the date.
        late.ask(1)
        late.reaches("active", 1)
        assert server.held() == 4
        late.release()
        until("it gave back", lambda: server.held() == 3, 60)
        until("with its processes", lambda: server.engine_processes() == processes, 60)
    holder.release()
    waiter.reaches("active", 2)
    assert server.held() == 2
    until("the rest is gone", lambda: len(server.engine_processes()) == 4, 60)
    history = read_history(ledger.path, until=time.time() + 72 * HOURS)
    assert all(job.run >= 0 and job.submit >= 0 for job in history.jobs)
    print(f"5 h forward, 10 back, 53 forward: {len(processes)} processes stayed, {len(history.jobs)} uses")


def beats(ledger: Ledger, hours: int) -> bool:
    """Whether the server's last heartbeat is of the hour that its clock shows."""
    return all(
        abs(lease.heartbeat - time.time() - hours * HOURS) < HOURS for lease in living_leases(ledger, 0)
    )


def sane(server: Resting, slice_id: str) -> None:
    """Usage stays finite and within what there is; a forecast says nothing of the past."""
    for principal in server.get("aios/api/cluster")["principals"]:
        for name, value in numbers(principal):
            assert math.isfinite(value), name
            assert value >= 0, name
    forecast = server.get(f"aios/api/slices/{slice_id}/forecast")
    times = [forecast[name] for name in ("early", "start", "late") if forecast[name] is not None]
    assert times == sorted(times)
    assert all(math.isfinite(one) and one >= forecast["made"] - 1 for one in times), forecast


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, f"{name}.{key}")
    elif isinstance(value, int | float):
        yield name, float(value)
