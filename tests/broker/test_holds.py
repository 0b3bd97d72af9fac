"""What runs hold of their slices: a decision takes no more than they can do without."""

from __future__ import annotations

from pathlib import Path

from aios_lab.wire import ClaimRequest
from broker.cluster import Cluster, run


def test_a_busy_run_keeps_its_units(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.holds.pin(first, "r-1", 2)
        assert at.broker.view(first).busy
        at.broker.activate(second)
        await at.until(lambda: "holds 2 of 2 CPU threads" in at.broker.view(second).reason)
        assert at.broker.view(first).target == 2
        at.broker.request(first, ClaimRequest(workers=1))
        assert "when the run that is training on it ends" in at.broker.view(first).reason
        at.broker.holds.unpin(first, "r-1")
        await at.active(second, 1)
        await at.active(first, 1)

    run(tmp_path, story)


def test_a_run_that_can_resume_holds_only_its_minimum(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.holds.pin(first, "r-1", 2)
        at.broker.activate(second)
        await at.until(lambda: "holds 2 of 2 CPU threads" in at.broker.view(second).reason)
        at.broker.holds.lower(first, "r-1", 1)
        await at.active(second, 1)
        await at.active(first, 1)
        at.broker.holds.lower(first, "r-1", None)
        assert at.broker.view(first).busy
        at.broker.holds.lower(first, "r-2", 1)
        at.broker.holds.lower("s-gone", "r-1", 1)

    run(tmp_path, story)


def test_a_busy_run_keeps_no_more_than_it_needs(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.holds.pin(first, "r-1", 1)
        at.broker.activate(second)
        await at.active(second, 1)
        await at.active(first, 1)
        assert at.broker.view(first).busy

    run(tmp_path, story)
