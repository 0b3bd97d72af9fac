"""The ledger on a real disk: append-only, compare-and-swap, one server, heartbeats."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aios_lab.allocation import Resources
from aios_lab.broker import TTL, Ledger, Owner, Refused
from aios_lab.broker.ledger import PATIENCE, Entry
from aios_lab.broker.slices import Claim, Slice
from aios_lab.wire import SliceState
from broker.records import events, expire, living_leases

CLAIM = Claim(unit=Resources(1000, 1024), min=1, max=2, project="default")
FILED = Slice("s-1", Owner("ada"), CLAIM, created=1.0, since=1.0, epoch=1)


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.open()
    yield ledger
    ledger.close()


def granted(now: float = 2.0) -> Slice:
    return FILED.grant(now, {"local": 2})


def test_it_keeps_every_step(ledger: Ledger) -> None:
    ledger.write([Entry("filed", FILED)], 1.0)
    ledger.write([Entry("plan", data={"hash": "x"}), Entry("granted", granted())], 2.0)
    assert [event.kind for event in events(ledger)] == ["filed", "plan", "granted"]
    last = events(ledger, "s-1")[-1]
    assert (last.epoch, last.data["state"], last.data["units"]) == (2, "granted", {"local": 2})
    (lease,) = living_leases(ledger, 2.0)
    assert (lease.slice_id, lease.node, lease.units, lease.epoch) == ("s-1", "local", 2, 2)


def test_an_old_epoch_changes_nothing(ledger: Ledger) -> None:
    ledger.write([Entry("filed", FILED), Entry("granted", granted())], 2.0)
    with pytest.raises(Refused) as refused:
        ledger.write([Entry("plan", data={}), Entry("granted", granted())], 3.0)
    assert refused.value.reason == "ledger_conflict"
    assert len(events(ledger)) == 2


def test_leases_without_heartbeat_expire(ledger: Ledger) -> None:
    ledger.write([Entry("filed", FILED), Entry("granted", granted())], 100.0)
    assert len(living_leases(ledger, 100.0 + TTL)) == 1
    assert living_leases(ledger, 100.1 + TTL) == []
    ledger.heartbeat(105.0)
    assert len(living_leases(ledger, 105.0 + TTL)) == 1


def test_the_next_server_ends_what_a_dead_one_left(tmp_path: Path) -> None:
    """The first server dies by SIGKILL, in the middle of its leases."""
    code = (
        "import os, signal, sys; sys.path[:0] = sys.argv[2:]\n"
        "from broker.test_ledger import *\n"
        "ledger = Ledger(sys.argv[1]); ledger.open()\n"
        "ledger.write([Entry('filed', FILED), Entry('granted', granted())], 100.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "ledger.db"
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, str(path), tests], check=False, timeout=60)
    assert done.returncode == -9
    ledger = Ledger(path)
    ledger.open()
    assert len(living_leases(ledger, 100.0)) == 1
    assert expire(ledger, 120.0) == ["s-1"]
    assert living_leases(ledger, 100.0) == []
    assert events(ledger, "s-1")[-1].kind == SliceState.EXPIRED
    assert expire(ledger, 121.0) == []
    ledger.close()


def test_two_servers_on_one_ledger(ledger: Ledger) -> None:
    with pytest.raises(Refused, match=f"process {os.getpid()}") as refused:
        Ledger(ledger.path).open()
    assert refused.value.reason == "ledger_in_use"
    ledger.close()
    ledger.open()


def test_a_locked_or_full_ledger_refuses_and_keeps_what_it_has(ledger: Ledger) -> None:
    ledger.write([Entry("filed", FILED)], 1.0)
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refused, match="locked") as refused:
        ledger.write([Entry("granted", granted())], 2.0)
    assert refused.value.reason == "ledger_unavailable"
    assert 400 <= refused.value.status < 500
    assert "another program" in refused.value.hint.lower()
    assert ledger.balances() == [], "who reads is not held up"
    with pytest.raises(Refused, match="locked"):
        ledger.write([Entry("granted", granted())], 2.0)
    assert waits(ledger) == 0, "only the first one waits"
    with pytest.raises(Refused, match="locked"):
        ledger.heartbeat(2.0)
    assert waits(ledger) == 1000 * PATIENCE, "a heartbeat tries in earnest"
    other.execute("ROLLBACK")
    other.close()
    ledger.write([Entry("granted", granted())], 2.0)
    with ledger._writing() as connection:  # SQLite's own way to meet a full disk
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = Entry("granted", replace(granted(), epoch=3, problem="x" * 100_000))
    with pytest.raises(Refused, match="full") as refused:
        ledger.write([big], 3.0)
    assert refused.value.reason == "ledger_unavailable"
    assert len(events(ledger)) == 2
    assert len(living_leases(ledger, 2.0)) == 1


def waits(ledger: Ledger) -> int:
    """For how many milliseconds the last write was to wait."""
    with ledger._reading() as connection:
        return int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as refused:
        Ledger(tmp_path / "file" / "ledger.db").open()
    assert refused.value.reason == "ledger_unavailable"


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("something else, quite certainly no database " * 50)
    with pytest.raises(Refused, match="not a database"):
        Ledger(path).open()
    assert path.read_text().startswith("something else")
