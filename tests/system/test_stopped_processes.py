"""Processes that are stopped for a while, as on a machine that swaps: nothing is given twice, all goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aios_lab.broker import Ledger
from broker.records import events, living_leases
from claims import Resting, send
from live import HTTPProblem, meanwhile, until

SECONDS = 30 if "AIOS_SOAK" in os.environ else 4
CONFIG = "c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Resting]:
    server = Resting(tmp_path, CONFIG)
    try:
        yield server.start()
    finally:
        send(signal.SIGCONT, *server.processes())
        server.stop()


@contextmanager
def never_more_than(server: Resting, units: int, hosts: int) -> Iterator[None]:
    """All the while, neither the ledger nor the machine has more units than there are."""
    ledger, over = Ledger(server.data_dir / "ledger.db"), []
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        leased = sum(lease.units for lease in living_leases(ledger, 0))
        processes = len(server.engine_processes())
        if leased > units or processes > 1 + hosts + units:
            over.append((leased, processes))

    with meanwhile(look, 0.1):
        yield
    assert over == []
    print(f"\n{looks} looks: never more than {units} units leased, {1 + hosts + units} processes")


@pytest.mark.soak
def test_stopped_workers_hold_their_units_until_they_are_gone(server: Resting):
    first, second = server.claim(), server.claim()
    first.ask(2, preemptible=False)
    first.reaches("active", 2)
    _, _, *workers = server.engine_processes()
    with never_more_than(server, 2, 2):
        send(signal.SIGSTOP, *workers)
        second.ask(1)
        first.ask(1)
        first.reaches("resizing", 2)
        over = time.monotonic() + SECONDS
        until("the time is over", lambda: time.monotonic() > over, SECONDS + 10)
        send(signal.SIGCONT, *workers)
        first.reaches("active", 1, 90)
        second.reaches("active", 1, 90)
    assert server.held() == 2
    for claim in (first, second):
        claim.end()
    until("nothing is left", lambda: len(server.processes()) == 2, 60)
    until("no lease lives", lambda: server.living_leases() == [], 60)


@pytest.mark.soak
def test_a_stopped_server_keeps_its_slices_and_nobody_takes_them(server: Resting, tmp_path: Path):
    claim, other = server.claim(), server.claim()
    claim.ask(1)
    claim.reaches("active", 1)
    before, ledger = server.engine_processes(), Ledger(server.data_dir / "ledger.db")
    (tmp_path / "second").mkdir()
    config = f"{CONFIG}c.AIOSLab.data_dir = {str(server.data_dir)!r}\n"
    second = Resting(tmp_path / "second", config)
    with never_more_than(server, 2, 2), ThreadPoolExecutor(1) as pool:
        written = len(events(ledger))
        send(signal.SIGSTOP, server.pid)
        try:
            asked = pool.submit(other.ask, 1)
            over = time.monotonic() + SECONDS
            second.start(wait=False)
            until("a second server answers", second._answers, 60)
            until("the time is over", lambda: time.monotonic() > over, SECONDS + 10)
            assert second.engine_processes() == [], "it has started nothing"
            assert len(events(ledger)) == written, "nobody decided anything"
            assert sum(lease.units for lease in living_leases(ledger, 0)) == 1
            assert server.engine_processes() == before, "the slice goes on"
        finally:
            send(signal.SIGCONT, server.pid)
            second.stop()
        try:
            asked.result(60)
        except (OSError, HTTPProblem):  # its client lost patience, and asks again
            other.ask(1)
        other.reaches("active", 1, 60)
        assert claim.view()["workers"] == 1
        assert set(before) < set(server.engine_processes())
    assert server.held() == 2
    assert len(server.living_leases()) == 2
    for one in (claim, other):
        one.end()
    until("nothing is left", lambda: len(server.processes()) == 2, 60)
    until("no lease lives", lambda: server.living_leases() == [], 60)
