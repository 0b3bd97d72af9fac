"""A claim that loses everything to another: its owner is told for whom, and it has its turn again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aios_lab.wire import SliceState
from broker.cluster import Cluster, running
from broker.records import events
from broker.test_storms import replay


def unguarded(folder: Path) -> Path:
    path = folder / "quotas.yaml"
    path.write_text("fair_share: {guard: 0}\n")
    return path


async def two_of_ada(at: Cluster) -> tuple[str, str]:
    """Two notebooks of one user have both threads."""
    first, second = at.file("ada", 1, name="work/a.ipynb"), at.file("ada", 1, name="work/b.ipynb")
    for one in (first, second):
        at.broker.activate(one)
        await at.active(one, 1)
    return first, second


def test_the_owner_is_told_for_whom_and_starts_again_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=unguarded(tmp_path)) as at:
            kept, lost = await two_of_ada(at)
            newcomer = at.file("bob", 1)
            at.broker.activate(newcomer)
            await at.active(newcomer, 1)
            view = at.broker.view(lost)
            assert (view.state, view.dormant, view.target) == (SliceState.REQUESTED, False, 0)
            assert view.problem == (
                "All it had, 1 worker, was taken for bob's bob.ipynb, below the fair share until then. "
                "It starts again by itself when its turn comes."
            )
            assert at.broker.view(kept).workers == 1
            assert [one.problem for one in at.broker.views("bob")] == ["", "", ""]
            told = [event.data["by"] for event in events(at.ledger, lost) if event.kind == "preempted"]
            assert told == [[newcomer]]
            at.broker.end(newcomer, "over")
            await at.active(lost, 1)
            assert at.broker.view(lost).problem == ""
            replay(at)

    asyncio.run(main())


def test_the_notebook_that_lies_idle_goes_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=unguarded(tmp_path)) as at:
            idle, busy = await two_of_ada(at)
            at.broker.executing(idle, busy=False)
            newcomer = at.file("bob", 1)
            at.broker.activate(newcomer)
            await at.active(newcomer, 1)
            assert (at.broker.view(idle).workers, at.broker.view(busy).workers) == (0, 1)
            view = at.broker.view(idle)
            assert (view.parked, view.state, view.dormant, view.problem) == (
                True,
                SliceState.REQUESTED,
                False,
                "",
            )
            assert view.reason == (
                "Parked: its worker was lent to bob's bob.ipynb while it did nothing; "
                "run a cell and it comes back."
            )
            replay(at)

    asyncio.run(main())


def test_who_lay_idle_does_not_have_it_back_before_he_uses_it(tmp_path: Path) -> None:
    """Of two notebooks that want all of it, the one in use keeps it, though the other asked first."""

    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=unguarded(tmp_path)) as at:
            first = at.file("ada", 2, min_workers=2, name="work/a.ipynb")
            at.broker.activate(first)
            await at.active(first, 2)
            at.broker.executing(first, busy=False)
            second = at.file("ada", 2, min_workers=2, name="work/b.ipynb")
            at.broker.activate(second)
            await at.active(second, 2)
            assert at.broker.view(first).workers == 0
            assert "lent to ada's b.ipynb" in at.broker.view(first).reason
            replay(at)

    asyncio.run(main())


def test_what_began_a_moment_ago_keeps_its_minimum(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=3) as at:
            first, second = await two_of_ada(at)
            newcomer = at.file("bob", 2, min_workers=2)
            at.broker.activate(newcomer)
            await at.until(lambda: "its minimum for the first 60 s" in at.broker.view(newcomer).reason)
            assert [at.broker.view(one).workers for one in (first, second, newcomer)] == [1, 1, 0]

    asyncio.run(main())
