"""What a ledger recorded, as jobs: by hand to the second, and from a broker that runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aios_lab.allocation import Resources, decide
from aios_lab.allocation.simulation import compare
from aios_lab.broker import Ledger, Owner
from aios_lab.broker.accounts import Accounts
from aios_lab.broker.history import HistoryError, is_ledger, read_history
from aios_lab.broker.ledger import Entry
from aios_lab.broker.quotas import Quotas
from aios_lab.broker.slices import Claim, Slice
from aios_lab.broker.snapshot import plan_record, take_snapshot
from aios_lab.cli import main
from aios_lab.wire import SliceState
from broker.cluster import running
from broker.memory_engine import MemoryEngine
from broker.records import events, expire

UNIT = Resources(1000, 1024)


def never_idle(_: Slice) -> bool:
    return False


CLAIM = Claim(unit=UNIT, min=1, max=4, project="default", duration=60.0)


class Record:
    """Writes steps of slices with times of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.ledger = Ledger(self.path)
        self.ledger.open()

    def file(self, now: float, name: str, claim: Claim = CLAIM) -> Slice:
        one = Slice(name, Owner(f"user of {name}"), claim, created=now, since=now, epoch=1)
        return self.note("filed", one, now)

    def ask(self, now: float, one: Slice) -> Slice:
        return self.note("requested", one.step(now, wanted=True, asked=now), now)

    def note(self, kind: str, one: Slice, now: float) -> Slice:
        self.ledger.write([Entry(kind, one)], now)
        return one

    def plan(self, now: float, *slices: Slice) -> None:
        snapshot = take_snapshot(
            MemoryEngine(threads=4).inventory(), Quotas(None), slices, Accounts(self.ledger), never_idle, now
        )
        self.ledger.write([Entry("plan", data=plan_record(snapshot, "fcfs", decide(snapshot, "fcfs")))], now)

    def leave(self, now: float, one: Slice) -> Slice:
        one = self.note("given_back", one.step(now, SliceState.DRAINING, wanted=False), now)
        return self.note("emptied", one.emptied(now, SliceState.REQUESTED), now)


@pytest.fixture
def record(tmp_path: Path):  # type: ignore[no-untyped-def]
    record = Record(tmp_path)
    yield record
    record.ledger.close()


def used(record: Record) -> Slice:
    """Asks at 100, has two threads from 110 and four from 130, and gives them back at 140."""
    one = record.ask(100.0, record.file(50.0, "s-1"))
    record.plan(105.0, one)
    one = record.note("granted", one.grant(110.0, {"local": 2}), 110.0)
    one = record.note("settled", one.settled(112.0), 112.0)
    one = record.note("granted", one.grant(130.0, {"local": 2}), 130.0)
    one = record.note("settled", one.settled(131.0), 131.0)
    return record.leave(140.0, one)


def test_a_use_becomes_a_job_of_its_work(record: Record) -> None:
    """2 threads for 20 s and 4 for 10 s: 80 thread-seconds, which 4 threads do in 20 s."""
    used(record)
    history = read_history(record.path, until=200.0)
    (job,), (was,) = history.jobs, history.past
    assert (job.submit, job.run, job.count, job.least, job.unit) == (0, 20, 4, 1, UNIT)
    assert (job.requested, job.user, job.group) == (60, "user of s-1", "default")
    assert (was.submit, was.start, was.end, was.alone) == (0, 10, 40, 20)
    assert was.levels == ((10, 0.5), (30, 1))
    assert (history.began, history.policies) == (100, ("fcfs",))
    assert [node.capacity.cpu for node in history.nodes] == [4000]
    assert "cluster/default/user of s-1" in {one.path for one in history.principals}


def test_asking_again_is_another_use_and_asking_in_vain_is_none(record: Record) -> None:
    one = record.ask(150.0, used(record))
    one = record.note("granted", one.grant(160.0, {"local": 1}), 160.0)
    record.leave(161.0, one)
    record.leave(190.0, record.ask(150.0, record.file(150.0, "s-2")))
    history = read_history(record.path, until=200.0)
    assert [(was.submit, was.start, was.end) for was in history.past] == [(0, 10, 40), (50, 60, 61)]
    assert history.notes == ("1 claim asked and got nothing in this time; left out.",)


def test_only_what_is_in_the_time_counts(record: Record) -> None:
    """From 120 to 135 it holds two threads, then four: 2 · 10 + 4 · 5 thread-seconds."""
    used(record)
    history = read_history(record.path, since=120.0, until=135.0)
    (was,) = history.past
    assert (history.began, was.submit, was.start, was.end, was.alone) == (120, 0, 0, 15, 10)
    with pytest.raises(HistoryError, match="no use of a slice in this time"):
        read_history(record.path, since=141.0, until=150.0)
    with pytest.raises(HistoryError, match="no use of a slice in this time"):
        read_history(record.path, until=99.0)


def test_a_server_that_died_used_nothing_after_its_last_word(record: Record) -> None:
    one = record.ask(100.0, record.file(50.0, "s-1"))
    record.plan(100.0, one)
    record.note("granted", one.grant(110.0, {"local": 4}), 110.0)
    record.note("filed", replace(record.file(118.0, "s-2"), id="s-3"), 118.0)
    expire(record.ledger, 9000.0)
    (was,) = read_history(record.path, until=10_000.0).past
    assert (was.start, was.end) == (10, 18)


def test_another_policy_is_played_on_what_was(record: Record) -> None:
    """Two who each did 80 thread-seconds, one after the other: shared, both are done when the last was."""
    used(record)
    one = record.ask(100.0, record.file(90.0, "s-9"))
    one = record.note("granted", one.grant(140.0, {"local": 4}), 140.0)
    record.leave(160.0, one)
    history = read_history(record.path, until=200.0)
    compared = compare(
        history.jobs,
        history.nodes,
        ["fair_share", "fcfs"],
        principals=history.principals,
        elastic=True,
        past=history.past,
    )
    assert list(compared.reports) == ["as it was", "fair_share", "fcfs"]
    assert compared.reports["as it was"].wait.mean == 25
    assert compared.reports["fair_share"].wait.mean == 0
    assert {policy: one.makespan for policy, one in compared.reports.items()} == {
        "as it was": 60,
        "fair_share": 40,
        "fcfs": 40,
    }


def test_what_is_no_ledger_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\0" + b"x" * 100)
    assert is_ledger(other)
    with pytest.raises(HistoryError, match="cannot be read as a ledger"):
        read_history(other)
    other.write_text("; MaxProcs: 4\n")
    assert not is_ledger(other)


async def test_the_ledger_of_a_running_broker_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    async with running(tmp_path, threads=4) as cluster:
        ada, bob = cluster.file("ada", workers=4), cluster.file("bob", workers=4)
        cluster.broker.activate(ada)
        await cluster.active(ada, 4)
        cluster.broker.activate(bob)
        await cluster.active(bob, 2)
        await cluster.active(ada, 2)
        path = cluster.ledger.path
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        lines = len(events(cluster.ledger))
        history = read_history(path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
        assert len(events(cluster.ledger)) == lines
        assert sorted(job.user for job in history.jobs) == ["ada", "bob"]
        assert {job.count for job in history.jobs} == {4}
        cluster.broker.release(ada)
        await cluster.active(bob, 4)


def test_from_the_shell(record: Record, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    used(record)
    page = tmp_path / "page.html"
    command = ["simulate", str(record.path), "--policy", "fcfs", "--policy", "fair_share"]
    assert main([*command, "--plot", str(page)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows[3:]] == ["as it was", "fcfs", "fair_share"]
    assert rows[3].split()[3:6] == ["10.0", "10.0", "10.0"]
    assert "as it was" in page.read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--policy", "fcfs", "--since", "7d"], "no use of a slice in this time"),
        (["--policy", "fcfs", "--jobs", "3"], "is a ledger, which --jobs is not for"),
        (["--protocol", "rlscheduler"], "is a ledger, which --protocol is not for"),
    ],
)
def test_a_mistake_is_one_sentence(
    record: Record, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    used(record)
    assert main(["simulate", str(record.path), *options]) == 1
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1


def test_the_panel_hears_its_own_share_and_nobody_elses_name(record: Record) -> None:
    used(record)
    one = record.ask(100.0, record.file(90.0, "s-9"))
    one = record.note("granted", one.grant(140.0, {"local": 4}), 140.0)
    record.leave(160.0, one)
    order = {
        "ledger": str(record.path),
        "since": 0.0,
        "until": 200.0,
        "policies": ["fcfs"],
        "user": "user of s-1",
    }
    code = "import sys; from aios_lab.broker.replay import *; sys.exit(replay_job(sys.argv[1].encode(), {}))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(order)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer = json.loads(done.stdout.splitlines()[-1])["answer"]
    was, _ = answer["figures"]
    assert (was["uses"], was["past"], was["wait_mean"]) == (2, True, 25)
    # 80 of 240 thread-seconds were its own, and as many the other's.
    assert [sum(was[whose]) / len(was[whose]) for whose in ("mine", "others")] == pytest.approx(
        [1 / 3, 1 / 3]
    )
    assert "user of" not in done.stdout


def test_a_span_is_a_number_and_a_letter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for wrong in ("7", "d", "7y", "-7d", "0d", "1e9d"):
        with pytest.raises(SystemExit):
            main(["simulate", str(tmp_path), "--policy", "fcfs", f"--since={wrong}"])
        assert f"{wrong!r} is no time such as 90m, 12h, 7d or 4w." in capsys.readouterr().err
    trace = tmp_path / "trace.swf"
    trace.write_text("; MaxProcs: 4\n")
    assert main(["simulate", str(trace), "--policy", "fcfs", "--since", "7d"]) == 1
    assert "--since is for ledgers" in capsys.readouterr().err
