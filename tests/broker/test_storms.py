"""Everything happens to everybody in any order: nothing is given twice, and in the end nothing is left."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from aios_lab.allocation import POLICIES
from aios_lab.allocation.placement import RULES
from aios_lab.broker import Refused
from aios_lab.wire import ClaimRequest, Slice, SliceState
from broker.cluster import Cluster, running
from broker.records import agree, decide_again, living_leases


def replay(at: Cluster) -> None:
    """What was recorded leads to what was decided, and to what is there."""
    decide_again(at.ledger)
    agree(at.ledger)


DEEDS = (
    "file",
    "activate",
    "request",
    "unit",
    "release",
    "end",
    "recycle",
    "pin",
    "unpin",
    "lie idle",
    "use",
    "kill",
    "break",
    "hold",
    "rest",
)


def do(at: Cluster, random: Random, deed: str, ids: list[str]) -> None:
    one = random.choice(ids)
    match deed:
        case "file":
            ids.append(at.file(random.choice(("ada", "bob", "cy")), random.randint(1, 4)))
        case "activate":
            at.broker.activate(one)
        case "request":
            most = random.randint(1, 4)
            at.broker.request(one, ClaimRequest(workers=most, min_workers=random.randint(1, most)))
        case "unit":
            at.broker.request(one, ClaimRequest(workers=1, cpus=random.choice((1, 2))))
        case "release":
            at.broker.release(one)
        case "end":
            at.broker.end(one, "over")
        case "recycle":
            at.broker.recycle(one)
        case "pin":
            at.broker.holds.pin(one, "r-1", 2)
        case "unpin":
            at.broker.holds.unpin(one, "r-1")
        case "lie idle":
            at.broker.executing(one, busy=False)
        case "use":
            at.broker.executing(one, busy=True)
        case "kill" if one in at.engine.open:
            at.engine.kill(one)
        case "break":
            at.engine.broken = random.choice(("", "", "no worker started"))
        case "hold":
            at.engine.hold()
        case _:
            at.engine.go.set()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(400 if "AIOS_SOAK" in os.environ else 25))
def test_a_storm(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    quotas = tmp_path / "quotas.yaml"
    policy, placement = [*POLICIES][seed % len(POLICIES)], [*RULES][seed % len(RULES)]
    quotas.write_text(f"policy: {policy}\nplacement: {placement}\n")

    async def main() -> None:
        random = Random(seed)
        async with running(tmp_path, threads=4, quotas=quotas) as at:
            ids = [at.file("ada", 2)]
            for _ in range(60):
                # Owners that have ended, and sizes larger than the cluster, are refused.
                with suppress(Refused):
                    do(at, random, random.choice(DEEDS), ids)
                for _ in range(random.randint(0, 12)):
                    await asyncio.sleep(0)
            at.engine.broken = ""
            at.engine.go.set()
            await calm(at)
            for one in ids:
                at.broker.end(one, "over")
            await at.until(lambda: not at.broker.views(None))
            assert not at.engine.open
            assert living_leases(at.ledger, 0) == []
            assert at.broker.problems() == []
            assert at.broker.cluster().used.cpus == 0
            replay(at)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aios_lab")] == []


async def calm(at: Cluster) -> None:
    """Everybody who wants units has some, or a reason; the ledger, the engine and the views agree."""

    def told(view: Slice) -> bool:
        return view.dormant or view.target == view.max_workers or bool(view.reason or view.problem)

    def settled() -> bool:
        moving = (SliceState.GRANTED, SliceState.RESIZING, SliceState.DRAINING)
        views = at.broker.views(None)
        return all(v.state not in moving and v.workers == v.target and told(v) for v in views)

    await at.until(settled)
    held = {view.id: view.target for view in at.broker.views(None) if view.target}
    leases: dict[str, int] = {}
    for lease in living_leases(at.ledger, 0):
        leases[lease.slice_id] = leases.get(lease.slice_id, 0) + lease.units
    assert leases == held
