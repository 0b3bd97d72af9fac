"""A broker that is killed, and the next one on its ledger and its engine."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from aios_lab.broker import Refused
from aios_lab.broker.recovery import LOST, WHY
from aios_lab.broker.slices import Slice
from aios_lab.wire import ClaimRequest, SliceState
from broker.cluster import Cluster
from broker.memory_engine import MemoryEngine
from broker.records import events, living_leases
from broker.test_preemption import unguarded
from broker.test_storms import DEEDS, calm, do, replay

AGES = 1e9


Following = Callable[..., Awaitable[Cluster]]


@asynccontextmanager
async def succession(folder: Path, threads: int = 4) -> AsyncIterator[Following]:
    """Gives a function that kills the broker there is, if any, and starts the next on the same engine."""
    engine, brokers = MemoryEngine(threads), list[Cluster]()
    quotas = unguarded(folder)

    async def following(claim_within: float = AGES) -> Cluster:
        if brokers:
            await brokers[-1].crash()
        brokers.append(Cluster(folder, engine, quotas))
        engine.go.set()
        await brokers[-1].broker.start(claim_within)
        return brokers[-1]

    yield following
    await brokers[-1].broker.stop()
    assert not engine.open
    assert living_leases(brokers[-1].ledger, 0) == []


def run(folder: Path, story: Callable[[Following], Awaitable[None]], **options: int) -> None:
    async def main() -> None:
        async with succession(folder, **options) as following:
            await story(following)

    asyncio.run(main())


async def told(true: Callable[[], bool]) -> None:
    """Wait until the ledger says so: nobody hears of claims that nobody sees."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def kinds(at: Cluster, slice_id: str) -> list[str]:
    return [event.kind for event in events(at.ledger, slice_id)]


def test_what_is_written_of_a_slice_is_the_slice(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        at = await following()
        one = at.file("ada", 2, priority="high", duration=60, name="a.ipynb")
        at.broker.activate(one)
        await at.active(one, 2)
        at.broker.holds.pin(one, "r-1", 1)
        (written,) = at.ledger.living()
        assert written == at.broker._life.get(one)
        data = written.data()
        del data["taken"]
        assert Slice.from_data(one, written.state, written.epoch, data | {"unheard": 1}) == written

    run(tmp_path, story)


def test_slices_of_living_owners_go_on(tmp_path: Path) -> None:
    """One that holds units, one that waits for some, one that sleeps; and whoever does not report is over."""

    async def story(following: Following) -> None:
        first = await following()
        holds, waits = first.file("ada", 4, preemptible=False, min_workers=4), first.file("bob", 1)
        sleeps, over, silent = first.file("cy", 1), first.file("di", 1), first.file("eve", 1)
        first.broker.end(over, "over")
        first.broker.activate(holds)
        await first.active(holds, 4)
        first.broker.holds.pin(holds, "r-1", 2)
        first.broker.activate(waits)
        await first.until(lambda: bool(first.broker.view(waits).reason))
        asked = {one.id: one.asked for one in first.ledger.living()}
        tokens = {one: first.broker.token(one) for one in (holds, waits, sleeps, silent)}

        second = await following()
        (view,) = second.broker.views(None)
        assert (view.id, view.state, view.workers, view.busy) == (holds, SliceState.ACTIVE, 4, True)
        assert "waits some seconds for a sign of its owner" in view.reason
        assert second.broker.cluster().used.cpus == 4
        assert all(second.broker.reclaim(one, tokens[one]) for one in (holds, waits, sleeps))
        assert second.broker.reclaim(holds, tokens[holds]), "said twice"
        assert not second.broker.reclaim(holds, "another's")
        assert not second.broker.reclaim(over, "x")
        assert not second.broker.reclaim("s-unknown", "")
        assert {one: second.broker.token(one) for one in (holds, waits)} == {
            one: tokens[one] for one in (holds, waits)
        }
        assert second.broker.view(holds).reason == ""
        assert second.broker.view(sleeps).dormant
        assert {one.id: one.asked for one in second.ledger.living()} == asked
        assert kinds(second, holds)[-2:] == ["adopted", "reclaimed"]

        third = await following(claim_within=0)
        assert all(third.broker.reclaim(one, tokens[one]) for one in (holds, waits, sleeps))
        await told(lambda: kinds(third, silent)[-1] == "expired")
        third.broker.holds.unpin(holds, "r-1")
        third.broker.release(holds)
        await third.active(waits, 1)
        replay(third)

    run(tmp_path, story)


def test_nobody_reports(tmp_path: Path) -> None:
    """Until then its units are held and it does not grow; then another gets them."""

    async def story(following: Following) -> None:
        first = await following()
        one = first.file("ada", 4)
        first.broker.request(one, ClaimRequest(workers=2))
        await first.active(one, 2)
        first.broker.request(one, ClaimRequest(workers=4))
        first.engine.hold()
        second = await following(claim_within=0)
        other = second.file("bob", 4, min_workers=3)
        second.broker.activate(other)
        await second.active(other, 4)
        assert not second.broker.living(one)
        steps = events(second.ledger, one)
        (adopted,) = [step for step in steps if step.kind == "adopted"]
        (*_, ended, emptied) = steps
        assert adopted.data["cap"] == 2
        assert (ended.kind, ended.data["why"]) == ("owner_ended", WHY)
        assert (emptied.kind, emptied.data["state"]) == ("emptied", "expired")
        assert not second.broker.reclaim(one, "late")

    run(tmp_path, story)


@pytest.mark.parametrize(
    "deed", ["granted", "growing", "shrinking", "released", "preempted", "failing", "ended"]
)
def test_killed_in_the_middle(tmp_path: Path, deed: str) -> None:
    """Whatever was under way comes to an end that fits; nothing is given twice (the engine looks)."""

    async def story(following: Following) -> None:
        first = await following()
        one = first.file("ada", 2, min_workers=2 if deed == "preempted" else 1)
        token = first.broker.token(one)
        if deed != "granted":
            first.broker.activate(one)
            await first.active(one, 2)
        first.engine.called.clear()
        first.engine.hold()
        match deed:
            case "granted":
                first.broker.activate(one)
            case "growing":
                first.broker.request(one, ClaimRequest(workers=4))
            case "shrinking":
                first.broker.request(one, ClaimRequest(workers=1))
            case "released":
                first.broker.release(one)
            case "preempted":
                first.engine.go.set()
                other = first.file("ada", 2, min_workers=2, name="work/b.ipynb")
                first.broker.activate(other)
                await first.active(other, 2)
                first.broker.executing(one, busy=False)
                first.engine.called.clear()
                first.engine.hold()
                first.broker.activate(first.file("bob", 2, min_workers=2))
                await first.until(lambda: first.broker.view(one).target == 0)
            case "failing":
                first.engine.kill(one)
            case "ended":
                first.broker.end(one, "over")
        if deed in ("granted", "growing", "shrinking", "preempted"):
            await first.engine.called.wait()
        second = await following()
        assert second.broker.reclaim(one, token) == (deed != "ended")
        if deed in ("granted", "growing", "shrinking"):
            await second.active(one, {"granted": 2, "growing": 4, "shrinking": 1}[deed])
        elif deed == "ended":
            await second.until(lambda: not second.broker.views(None))
        else:
            await second.reach(one, SliceState.REQUESTED, 0)
        view = second.broker.view(one) if deed != "ended" else None
        if deed == "failing":
            assert view is not None
            assert view.dormant
            assert view.problem
        if deed == "preempted":
            assert view is not None
            assert not view.dormant
            assert one in second.engine.open, "its scheduler and its client's connection stay"
        replay(second)

    run(tmp_path, story)


def test_what_the_engine_lost_meanwhile_sleeps(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        first = await following()
        one, leaving = first.file("ada", 2), first.file("bob", 1)
        for each in (one, leaving):
            first.broker.activate(each)
        await first.active(one, 2)
        await first.active(leaving, 1)
        first.engine.hold()
        first.broker.end(leaving, "over")
        token = first.broker.token(one)
        first.engine.open.clear()
        second = await following()
        assert living_leases(second.ledger, 0) == []
        assert second.broker.views(None) == []
        assert kinds(second, leaving)[-1] == "expired"
        lost = events(second.ledger, one)[-1]
        assert (lost.kind, lost.data) == ("lost", {"why": WHY}), (
            "it held nothing any more, since nobody knows when"
        )
        assert second.broker.reclaim(one, token)
        view = second.broker.view(one)
        assert (view.state, view.dormant, view.problem) == (SliceState.REQUESTED, True, LOST)
        second.broker.activate(one)
        await second.active(one, 2)

    run(tmp_path, story)


def test_what_the_ledger_does_not_know_is_closed(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        first = await following()
        one = first.file("ada", 1)
        first.broker.activate(one)
        await first.active(one, 1)
        first.engine.open["s-unknown"] = first.engine.open[one]
        second = await following()
        await second.until(lambda: "s-unknown" not in second.engine.open)
        assert one in second.engine.open

    run(tmp_path, story)


def test_a_broker_that_stops_leaves_what_it_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        engine = MemoryEngine(4)
        first, second = Cluster(tmp_path, engine), Cluster(tmp_path, engine)
        await first.broker.start()
        mine, theirs = first.file("ada", 1), first.file("bob", 2)
        for one in (mine, theirs):
            first.broker.activate(one)
        await first.active(mine, 1)
        await first.active(theirs, 2)
        token = first.broker.token(theirs)
        await first.broker.stop(leave={theirs})
        assert [*engine.open] == [theirs]
        first.ledger.open()
        assert [one.id for one in first.ledger.living()] == [theirs]
        first.ledger.close()
        await second.broker.start()
        assert second.broker.reclaim(theirs, token)
        await second.active(theirs, 2)
        await second.broker.stop()
        assert not engine.open

    asyncio.run(main())


def test_a_broker_that_stops_soon_leaves_what_nobody_has_reclaimed_yet(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        first = await following()
        mine, theirs, sleeps = first.file("ada", 1), first.file("bob", 2), first.file("cy", 1)
        for one in (mine, theirs):
            first.broker.activate(one)
        await first.active(mine, 1)
        await first.active(theirs, 2)
        tokens = {one: first.broker.token(one) for one in (mine, theirs, sleeps)}
        second = await following()
        assert second.broker.recovery.unclaimed == {mine, theirs, sleeps}
        assert second.broker.reclaim(mine, tokens[mine])
        assert second.broker.recovery.unclaimed == {theirs, sleeps}
        await second.broker.stop(second.broker.recovery.unclaimed)
        assert [*second.engine.open] == [theirs]
        third = await following()
        assert not third.broker.reclaim(mine, tokens[mine])
        assert all(third.broker.reclaim(one, tokens[one]) for one in (theirs, sleeps))
        await third.active(theirs, 2)
        assert not third.broker.recovery.unclaimed

    run(tmp_path, story)


def test_runs_that_nobody_knows_pin_nothing(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        first = await following()
        one = first.file("ada", 2)
        token = first.broker.token(one)
        first.broker.activate(one)
        await first.active(one, 2)
        first.broker.holds.pin(one, "r-known", 1)
        first.broker.holds.pin(one, "r-unheard", 2)
        second = await following()
        second.broker.recovery.unpin({"r-known"})
        (written,) = second.ledger.living()
        assert written.pins == {"r-known": 1}
        assert second.broker.reclaim(one, token)

    run(tmp_path, story)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200 if "AIOS_SOAK" in os.environ else 10))
def test_a_storm_in_which_brokers_are_killed(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(following: Following) -> None:
        random, tokens = Random(seed), dict[str, str]()
        at = await following()
        ids = [at.file("ada", 2)]
        for _ in range(80):
            with suppress(Refused):
                do(at, random, random.choice(DEEDS), ids)
            for one in ids:
                if at.broker.living(one) and one not in tokens:
                    tokens[one] = at.broker.token(one)
            for _ in range(random.randint(0, 8)):
                await asyncio.sleep(0)
            if random.random() < 0.1:
                at = await following()
                for one in [one for one in ids if random.random() < 0.8]:
                    at.broker.reclaim(one, tokens.get(one, ""))
        at.engine.broken = ""
        at = await following(claim_within=0)
        for one in ids[::2]:
            at.broker.reclaim(one, tokens.get(one, ""))
        await calm(at)
        for one in ids:
            at.broker.end(one, "over")
        await at.until(lambda: not at.broker.views(None))
        assert not at.engine.open
        await told(lambda: at.ledger.living() == [])
        assert living_leases(at.ledger, 0) == []
        assert at.broker.problems() == []
        replay(at)

    with caplog.at_level(logging.WARNING):
        run(tmp_path, story)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aios_lab")] == []
