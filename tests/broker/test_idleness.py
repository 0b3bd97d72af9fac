"""What lies idle is lent to who waits, and comes back when it is used; nothing else ever is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aios_lab.allocation import Resources
from aios_lab.broker.idleness import Idleness, Windows
from aios_lab.broker.slices import Claim, Owner, Slice
from aios_lab.telemetry.gpu import Gpu
from aios_lab.wire import ClaimRequest, SliceState
from broker.cluster import Cluster, run
from broker.memory_engine import MemoryEngine
from broker.records import events
from broker.test_storms import replay

Story = Callable[[Cluster], Awaitable[None]]


async def lent(at: Cluster, wanted: int = 2) -> tuple[str, str]:
    """Ada's notebook had both threads and did nothing; now Bob's has those that he ``wanted``."""
    idle, busy = at.file("ada", 2), at.file("bob", wanted)
    at.broker.activate(idle)
    await at.active(idle, 2)
    at.broker.executing(idle, busy=False)
    at.broker.activate(busy)
    await at.active(busy, wanted)
    return idle, busy


def test_what_lies_idle_is_lent_whole_and_its_owner_reads_to_whom(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        idle, _ = await lent(at)
        view = at.broker.view(idle)
        assert (view.parked, view.workers, view.target, view.dormant) == (True, 0, 0, False)
        assert "were lent to bob's bob.ipynb while it did nothing; run a cell" in view.reason
        assert view.problem == ""
        assert idle in at.engine.open, "its scheduler stays"
        kinds = [event.kind for event in events(at.ledger, idle)]
        assert kinds[-2:] == ["parked", "settled"]
        assert at.engine.graces[-2][1] == view.reason.removeprefix("Parked: ")
        replay(at)

    run(tmp_path, story)


def test_it_stays_lent_when_there_is_room_and_nobody_uses_it(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        idle, busy = await lent(at)
        at.broker.end(busy, "over")
        await at.until(lambda: not at.broker.living(busy))
        third = at.file("cy", 1)
        at.broker.activate(third)
        await at.active(third, 1)
        assert at.broker.view(idle).workers == 0

    run(tmp_path, story)


@pytest.mark.parametrize("use", ["a cell", "a task", "a client", "a request"])
def test_it_comes_back_when_it_is_used(tmp_path: Path, use: str) -> None:
    async def story(at: Cluster) -> None:
        idle, busy = await lent(at)
        asked = at.broker._life.get(idle).asked
        match use:
            case "a cell":
                at.broker.executing(idle, busy=True)
            case "a task":
                at.engine.compute(idle, True)
            case "a client":
                at.broker.activate(idle)
            case "a request":
                at.broker.request(idle, ClaimRequest(workers=1))
        assert not at.broker.view(idle).parked
        if use in ("a client", "a request"):
            at.broker.executing(idle, busy=True)  # they come from a cell
        await at.active(idle, 1)
        await at.active(busy, 1)
        assert at.broker._life.get(idle).asked > asked, "it waits since it was used"
        assert at.broker.view(idle).problem == ""
        replay(at)

    run(tmp_path, story)


def test_a_part_is_lent_first_and_comes_back_by_itself(tmp_path: Path) -> None:
    """Bob wants one of Ada's two: she keeps her minimum."""

    async def story(at: Cluster) -> None:
        idle, _ = await lent(at, wanted=1)
        await at.active(idle, 1)
        assert not at.broker.view(idle).parked
        why = at.engine.graces[-2]
        assert why == (30.0, "bob's bob.ipynb waits for its share; its own share is 1 worker.")

    run(tmp_path, story)


@pytest.mark.parametrize("busy", ["kernel", "unknown kernel", "tasks", "training"])
def test_nothing_is_lent_of_what_is_in_use(tmp_path: Path, busy: str) -> None:
    """It shares, and keeps its fair part."""

    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        if busy != "unknown kernel":
            at.broker.executing(first, busy=False)
        match busy:
            case "kernel":
                at.broker.executing(first, busy=True)
            case "tasks":
                at.engine.compute(first, True)
            case "training":
                at.broker.holds.pin(first, "r-1", 1)
        at.broker.activate(second)
        await at.active(second, 1)
        await at.active(first, 1)
        await at.until(lambda: "fair share is 1 worker" in at.broker.view(second).reason)
        assert at.broker.view(first).workers == 1

    run(tmp_path, story)


def test_without_contention_nothing_is_taken(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 1), at.file("bob", 1)
        for one in (first, second):
            at.broker.activate(one)
            await at.active(one, 1)
            at.broker.executing(one, busy=False)
        at.broker.request(second, ClaimRequest(priority="high"))
        await at.until(lambda: at.broker.view(second).priority == "high")
        assert [at.broker.view(one).workers for one in (first, second)] == [1, 1]

    run(tmp_path, story)


def test_a_parked_slice_can_be_given_back_and_lost(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        idle, busy = await lent(at)
        at.broker.release(idle)
        await at.until(lambda: idle not in at.engine.open)
        view = at.broker.view(idle)
        assert (view.parked, view.dormant, view.state) == (False, True, SliceState.REQUESTED)
        at.broker.end(busy, "over")
        await at.until(lambda: not at.broker.living(busy))
        idle, busy = await lent(at)
        at.engine.kill(idle)
        await at.until(lambda: at.broker.view(idle).dormant and not at.broker.view(idle).parked)
        assert "killed by signal 9" in at.broker.view(idle).problem

    run(tmp_path, story)


def test_who_did_not_give_way_in_time_is_in_the_ledger_and_told(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        at.engine.fence(one, 1, 3)
        assert at.broker.view(one).problem == (
            "1 worker did not give way within 30 s and had to be ended with 3 running tasks; "
            "they run again on other workers."
        )
        (event,) = [event for event in events(at.ledger, one) if event.kind == "fenced"]
        assert (event.data["workers"], event.data["tasks"]) == (1, 3)

    run(tmp_path, story)


class Clock:
    """``time.monotonic`` by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


UNIT = Resources(cpu=1000, memory=1024, gpu=1000)


def test_each_window_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        clock, engine = Clock(), MemoryEngine(threads=2, gpus=1)
        monkeypatch.setattr("aios_lab.broker.idleness.time", clock)
        use = [Gpu(0, "Test GPU", "GPU-0", 1 << 30, utilization=0.0)]
        idleness = Idleness(engine, Windows(kernel=10, tasks=20, accelerators=30), lambda: use)
        one = Slice("s-1", Owner("ada"), Claim(UNIT, 1, 1, "default"), 0, 0, wanted=True)

        class Nobody:
            def workers_changed(self, *_: object) -> None: ...

        await engine.start(Nobody())  # type: ignore[arg-type]
        await engine.scale("s-1", UNIT, 1)
        since = clock.now
        engine.open["s-1"] = replace(engine.open["s-1"], devices=(0,), quiet_since=since)
        assert not idleness.idle(one), "nothing is known of its kernel"
        idleness.kernel("s-1", busy=False)
        await idleness.look(["s-1"])
        found = {}
        for seconds in (9, 19, 29, 30):
            clock.now = since + seconds
            found[seconds] = idleness.idle(one)
        assert found == {9: False, 19: False, 29: False, 30: True}
        engine.open["s-1"] = replace(engine.open["s-1"], quiet_since=None)
        assert not idleness.idle(one), "a task runs"
        engine.open["s-1"] = replace(engine.open["s-1"], quiet_since=since)
        idleness.kernel("s-1", busy=True)
        idleness.kernel("s-1", busy=False)
        assert not idleness.idle(one), "its kernel ran a cell just now"
        clock.now += 10
        assert idleness.idle(one)
        assert not idleness.idle(replace(one, pins={"r-1": 1})), "a run trains on it"
        for utilization in (3.0, None):
            use[0] = replace(use[0], utilization=utilization)
            assert idleness.idle(one)
            await idleness.look(["s-1"])
            assert not idleness.idle(one), f"its accelerator is used, or may be: {utilization}"
            clock.now += 30
            assert idleness.idle(one)

    asyncio.run(main())
