"""Forecasts and what-ifs of the broker, and the past that it reads from its ledger."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from aios_lab.allocation import Past, Resources
from aios_lab.broker import Ledger, Owner, Refused
from aios_lab.broker.ledger import Entry
from aios_lab.broker.record import Record
from aios_lab.broker.slices import Claim, Slice
from aios_lab.wire import ClaimRequest, SliceState
from broker.cluster import Cluster
from broker.records import events, expire
from broker.test_broker import run

UNIT = Resources(1000, 1024)
CLAIM = Claim(unit=UNIT, min=1, max=2, project="default", duration=60.0)
QUEUE = "policy: fcfs\n"


def filed(slice_id: str = "s-1", user: str = "ada") -> Slice:
    return Slice(slice_id, Owner(user), CLAIM, created=1.0, since=1.0, epoch=1)


def write(ledger: Ledger, *steps: tuple[float, str, Slice]) -> None:
    for now, kind, one in steps:
        ledger.write([Entry(kind, one)], now)


def wants(one: Slice, now: float) -> Slice:
    return one.step(now, wanted=True, asked=now)


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.open()
    yield ledger
    ledger.close()


def test_the_past_is_what_slices_asked_for_and_held(ledger: Ledger) -> None:
    record = Record(ledger)
    asked = wants(filed(), 10.0)
    granted = asked.grant(12.0, {"local": 2})
    write(ledger, (1.0, "filed", filed()), (10.0, "requested", asked), (12.0, "granted", granted))
    expected = Past("cluster/default/ada", UNIT, 1, 2, 10.0, 12.0, None, 60.0)
    assert record.past() == (expected,)
    active = granted.settled(13.0)
    leaves = active.step(50.0, SliceState.DRAINING, wanted=False)
    emptied = leaves.emptied(52.0, SliceState.REQUESTED)
    write(ledger, (13.0, "settled", active), (50.0, "given_back", leaves), (52.0, "emptied", emptied))
    assert record.past() == (replace(expected, ended=52.0),)
    again = wants(emptied, 70.0)
    write(ledger, (70.0, "requested", again))
    assert (
        record.past()
        == Record(ledger).past()
        == (
            replace(expected, ended=52.0),
            replace(expected, submitted=70.0, started=None),
        )
    )
    assert record.members == {("default", "ada")}


def test_who_gave_up_came_all_the_same_and_who_was_killed_has_no_length(ledger: Ledger) -> None:
    waits = wants(filed(), 10.0)
    gone = waits.step(20.0, wanted=False, gone=True)
    killed = wants(filed("s-2", "bob"), 11.0)
    holds = killed.grant(12.0, {"local": 1})
    write(ledger, (1.0, "filed", filed()), (10.0, "requested", waits), (20.0, "owner_ended", gone))
    write(ledger, (1.0, "filed", filed("s-2", "bob")), (11.0, "requested", killed), (12.0, "granted", holds))
    expire(ledger, 500.0)
    assert [(one.submitted, one.started, one.ended) for one in Record(ledger).past()] == [
        (10.0, None, None),
        (11.0, None, None),
    ]


def test_only_the_newest_lines_are_read(ledger: Ledger) -> None:
    write(ledger, (1.0, "filed", filed()), (10.0, "requested", wants(filed(), 10.0)))
    assert [line["kind"] for line in ledger.steps(0, 1)] == ["requested"]
    assert ledger.steps(ledger.steps(0, 1)[0]["id"], 5) == []


def quotas(folder: Path, text: str) -> Path:
    path = folder / "quotas.yaml"
    path.write_text(text)
    return path


def test_a_waiting_slice_is_told_when_it_starts(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2, duration=600), at.file("bob", 2, min_workers=2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.activate(second)
        await at.until(lambda: bool(at.broker.view(second).reason))
        told = await at.broker.forecast(second)
        began = time.time()
        assert (told.state, told.workers) == ("expected", 2)
        assert told.early is not None
        assert told.start is not None
        assert told.late is not None
        assert began + 500 < told.early <= told.start <= told.late < began + 700
        assert "ada's ada.ipynb holds 2 of 2 CPU threads" in told.reason
        assert told.reason.endswith("nothing would start now.")
        assert await at.broker.forecast(second) is told, "nothing changed"
        at.broker.release(first)
        await at.active(second, 2)
        has_all = await at.broker.forecast(second)
        assert (has_all.state, has_all.workers) == ("now", 2)
        assert has_all.reason == "It has all 2 workers that it asked for."

    run(tmp_path, story, quotas=quotas(tmp_path, QUEUE))


def test_without_history_or_stated_durations_it_says_why_there_is_no_forecast(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2, min_workers=2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.activate(second)
        told = await at.broker.forecast(second)
        assert (told.state, told.start) == ("unknown", None)
        assert told.basis.startswith("no history")

    run(tmp_path, story, quotas=quotas(tmp_path, QUEUE))


def test_what_if_says_what_would_start_and_asks_for_nothing(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 3, duration=600), at.file("bob", 2, min_workers=2)
        at.broker.activate(first)
        await at.active(first, 3)
        at.broker.activate(second)
        await at.until(lambda: bool(at.broker.view(second).reason))
        lines = len(events(at.ledger))
        told = await at.broker.what_if(second, ClaimRequest(workers=1))
        assert (told.at_once, told.soon, told.max_workers) == (1, 1, 1)
        assert told.after.state == "now"
        assert told.before is not None
        assert told.before.state == "expected"
        assert at.broker.view(second).max_workers == 2
        assert len(events(at.ledger)) == lines
        with pytest.raises(Refused) as refused:
            await at.broker.what_if(second, ClaimRequest(workers=99))
        assert (refused.value.status, refused.value.reason) == (422, "too_large")

    run(tmp_path, story, threads=4, quotas=quotas(tmp_path, QUEUE))


def test_what_if_names_who_would_give(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 4), at.file("bob", 4)
        at.broker.activate(first)
        await at.active(first, 4)
        told = await at.broker.what_if(second, ClaimRequest(workers=4))
        assert told.before is None, "it sleeps, and asks for nothing"
        assert (told.at_once, told.soon) == (0, 2)
        assert [(one.user, one.name, one.workers) for one in told.gives] == [("ada", "ada.ipynb", 2)]
        assert told.after.state == "now"
        sleeping = await at.broker.forecast(second)
        assert sleeping.state == "now", "it would start if it were used"
        assert at.broker.view(second).dormant
        assert at.broker.view(first).target == 4

    run(tmp_path, story, threads=4)


def test_a_slice_that_changes_shape_is_asked_about_in_its_new_one(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        told = await at.broker.what_if(one, ClaimRequest(cpus=4, workers=1))
        assert (told.at_once, told.unit.cpus, told.after.state) == (1, 4.0, "now")

    run(tmp_path, story, threads=4)


def test_a_gone_slice_is_404(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        for asked in (at.broker.forecast("s-0"), at.broker.what_if("s-0", ClaimRequest())):
            with pytest.raises(Refused) as refused:
                await asked
            assert refused.value.status == 404

    run(tmp_path, story)
