"""Usage in the broker: accounted from leases, kept by the ledger, part of every snapshot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aios_lab.broker import Ledger, Quotas
from aios_lab.broker.snapshot import recorded_snapshot
from broker.cluster import Cluster, running
from broker.records import events
from broker.test_storms import replay

ADA = "cluster/default/ada"


@pytest.fixture
def quotas(tmp_path: Path) -> Path:
    """A claim is charged an hour as it begins, so that no test has to wait for usage."""
    path = tmp_path / "quotas.yaml"
    path.write_text("fair_share: {half_life: 1d, charge: 1h, guard: 0}\n")
    return path


def plans(at: Cluster) -> list[dict[str, Any]]:
    return [event.data for event in events(at.ledger) if event.kind == "plan"]


async def use(at: Cluster, user: str, workers: int) -> None:
    """Begin, and give back."""
    one = at.file(user, workers)
    at.broker.activate(one)
    await at.active(one, workers)
    at.broker.end(one, "over")
    await at.until(lambda: not at.broker.living(one))


def test_who_used_less_goes_before_who_asked_first(tmp_path: Path, quotas: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=1, quotas=quotas) as at:
            await use(at, "ada", 1)
            holder = at.file("cy", 1, preemptible=False)
            at.broker.activate(holder)
            await at.active(holder, 1)
            first, second = at.file("ada", 1), at.file("bob", 1)
            at.broker.activate(first)
            at.broker.activate(second)
            at.broker.end(holder, "over")
            await at.active(second, 1)
            assert at.broker.view(first).workers == 0
            usage = {one.principal: one.amount for one in recorded_snapshot(plans(at)[-1]).usage}
            assert set(usage) == {"cluster", "cluster/default", ADA}
            hour = 3600 * 1000
            assert usage[ADA].cpu == pytest.approx(hour, rel=0.05)
            assert usage["cluster"].cpu == pytest.approx(2 * hour, rel=0.05)
            replay(at)

    asyncio.run(main())


def test_usage_outlives_the_server(tmp_path: Path, quotas: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=quotas) as at:
            await use(at, "ada", 2)
        ledger = Ledger(at.ledger.path)
        ledger.open()
        kept = {one.principal: one.average for one in ledger.balances()}
        ledger.close()
        assert set(kept) == {"cluster", "cluster/default", ADA}
        assert kept[ADA][0] > 0
        async with running(tmp_path, threads=1, quotas=quotas) as at:
            one = at.file("ada", 1)
            at.broker.activate(one)
            await at.active(one, 1)
            usage = {used.principal: used.amount for used in recorded_snapshot(plans(at)[-1]).usage}
            assert usage[ADA].cpu == pytest.approx(2 * 3600 * 1000, rel=0.05)

    asyncio.run(main())


def test_the_cluster_says_what_was_used_lately_where_it_counts(tmp_path: Path, quotas: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=quotas) as at:
            await use(at, "ada", 1)
            at.file("ada", 1)
            at.file("bob", 1)
            cluster = at.broker.cluster()
            assert cluster.half_life == 86_400
            recent = {one.path.removeprefix("cluster/default/"): one.recent for one in cluster.principals}
            an_hour_of_half = 0.5 * (1 - 0.5 ** (1 / 24))
            assert recent["ada"] == recent["cluster"] == pytest.approx(an_hour_of_half, abs=0.001)
            assert recent["bob"] == 0
            assert [one.share for one in cluster.principals] == [0] * 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "half_life"),
    [
        ("", 2 * 86_400),
        ("policy: fcfs", None),
        ("fair_share: {k: 0}", None),
        ("fair_share: {k: 0, order: fair_tree, half_life: 1h}", 3600),
        ("fair_share: {half_life: 0}", None),
    ],
)
def test_past_use_counts_where_the_policy_looks_at_it(
    tmp_path: Path, text: str, half_life: int | None
) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text(text)
    assert Quotas(path).half_life == half_life


def test_what_is_held_is_kept_at_every_heartbeat(tmp_path: Path, quotas: Path) -> None:
    """A server that is killed loses what was used since the last one, and no more."""

    async def main() -> None:
        async with running(tmp_path, threads=2, quotas=quotas) as at:
            one = at.file("ada", 2)
            at.broker.activate(one)
            await at.active(one, 2)

            def kept() -> float:
                return sum(used.average[0] for used in at.ledger.balances() if used.principal == ADA)

            async with asyncio.timeout(20):
                while not kept():
                    await asyncio.sleep(0.1)

    asyncio.run(main())
