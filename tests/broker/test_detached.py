"""Slices with detached runs go on without their owners, and end with the last of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aios_lab.wire import SliceState
from broker.cluster import Cluster, run
from broker.records import events
from broker.test_recovery import Following, told
from broker.test_recovery import run as recover


async def trains(at: Cluster, workers: int = 2) -> str:
    """A slice with a detached run and one that is not."""
    one = at.file("ada", workers)
    at.broker.activate(one)
    await at.active(one, workers)
    at.broker.holds.pin(one, "r-detached", 1, detached=True)
    at.broker.holds.pin(one, "r-other", 1)
    return one


def test_the_end_of_its_owner_leaves_what_the_run_needs_and_its_own_end_nothing(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = await trains(at)
        assert at.broker.holds.detached == {one}
        at.broker.end(one, "The kernel was shut down.")
        assert at.broker.holds.runs(one) == {"r-detached"}
        await at.active(one, 1)
        at.broker.holds.unpin(one, "r-detached")
        await at.until(lambda: not at.broker.living(one))
        assert at.engine.open == {}
        kinds = [event.kind for event in events(at.ledger, one)]
        assert [kind for kind in kinds if kind in ("orphaned", "owner_ended")] == ["orphaned", "owner_ended"]

    run(tmp_path, story)


def test_a_restart_leaves_the_workers_as_they_are_while_a_detached_run_goes_on(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = await trains(at)
        at.broker.recycle(one)
        assert at.broker.holds.runs(one) == {"r-detached"}
        assert at.engine.restarts == []
        at.broker.holds.unpin(one, "r-detached")
        at.broker.recycle(one)
        await at.until(lambda: at.engine.restarts == [one])

    run(tmp_path, story)


@pytest.mark.parametrize("comes_back", [True, False])
def test_after_a_crash_the_slice_is_given_back_unless_the_kernel_uses_it_again(
    tmp_path: Path, comes_back: bool
) -> None:
    async def story(at: Cluster) -> None:
        one = await trains(at)
        at.broker.crashed(one, "The kernel died.")
        if comes_back:
            at.broker.activate(one)
        at.broker.holds.unpin(one, "r-detached")
        if comes_back:
            await at.active(one, 2)
        else:
            await at.reach(one, SliceState.REQUESTED, 0)
            assert at.broker.view(one).dormant

    run(tmp_path, story)


@pytest.mark.parametrize("how", ["released", "lost"])
def test_without_an_owner_nobody_is_left_to_come_back_to_it(tmp_path: Path, how: str) -> None:
    async def story(at: Cluster) -> None:
        one = await trains(at)
        at.broker.end(one, "over")
        await at.active(one, 1)
        if how == "released":
            at.broker.release(one)
        else:
            at.engine.kill(one)
        await at.until(lambda: not at.broker.living(one))
        assert (at.engine.open, at.broker.holds.detached) == ({}, frozenset())

    run(tmp_path, story)


def test_an_owner_ends_also_while_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = await trains(at)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        at.broker.end(one, "over")
        other.execute("ROLLBACK")
        other.close()
        await at.until(lambda: at.broker.holds.runs(one) == {"r-detached"})
        await at.active(one, 1)

    run(tmp_path, story)


def test_the_next_broker_keeps_it_though_nobody_reports_for_it(tmp_path: Path) -> None:
    async def story(following: Following) -> None:
        first = await following()
        one = await trains(first)
        second = await following(claim_within=0)
        await told(lambda: "orphaned" in [event.kind for event in events(second.ledger, one)])
        assert second.broker.holds.runs(one) == {"r-detached"}
        third = await following(claim_within=0)
        assert third.broker.recovery.unclaimed == frozenset()
        await third.active(one, 1)
        third.broker.recovery.unpin([])
        await third.until(lambda: not third.broker.living(one))
        assert third.engine.open == {}

    recover(tmp_path, story)
