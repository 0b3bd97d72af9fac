"""Brokers on the local engine, in processes that are killed: the next one has what was there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aios_lab.allocation import Resources
from aios_lab.broker import Broker, Ledger, Owner, Quotas
from aios_lab.broker.ledger import Entry
from aios_lab.broker.slices import Claim, Slice
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.engines.processes import await_end, marked
from aios_lab.wire import ClaimRequest, SliceState
from broker.records import events, living_leases
from live import until

LIVING, ASLEEP, ENDED = 20, 480, 1500

_SERVER = textwrap.dedent("""
    import asyncio, json, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[3:]
    from broker.test_takeover import *

    async def serve():
        engine, broker = parts(Path(sys.argv[1]))
        await broker.start()
        ids = [broker.file(None, Owner(f"user-{n}", name=f"{n}.ipynb")) for n in range(int(sys.argv[2]))]
        for one in ids:
            broker.activate(one)
        for one in ids:
            assert await broker.connection(one, 300) is not None
        print(json.dumps({one: [broker.token(one), *engine.info(one).pids] for one in ids}), flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())
""")


def parts(folder: Path) -> tuple[LocalEngine, Broker]:
    """An engine and a broker of one ledger. Small workers, so that many fit."""
    ledger = Ledger(folder / "ledger.db")
    inventory = {"cpus": LIVING, "memory": f"{LIVING}GiB"}
    engine = LocalEngine(inventory, folder / "run", serves=str(ledger.path))
    default = ClaimRequest(workers=1, cpus=1, memory="512MiB")
    return engine, Broker(engine, ledger, Quotas(), default)


@contextmanager
def killed_server(folder: Path, slices: int) -> Iterator[dict[str, list[Any]]]:
    """What a server had that was killed just now: of each slice the token of its owner and its pids."""
    command = [sys.executable, "-c", _SERVER, str(folder), str(slices), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            slices_of_it = json.loads(process.stdout.readline())
        finally:
            process.kill()
        process.wait()
        yield slices_of_it
        until(
            "nothing of it is left",
            lambda: not [1 for _, engine in marked() if engine.pid == process.pid],
            40,
        )


def fill(ledger: Ledger) -> None:
    """Claims of people who have left, and of some who have not used theirs yet."""
    claim = Claim(unit=Resources(1000, 512), min=1, max=1, project="default")
    ledger.open()
    for number in range(ASLEEP + ENDED):
        one = Slice(f"s-{number:08x}", Owner(f"user-{number % 50}"), claim, created=1.0, since=1.0, epoch=1)
        over = [Entry("emptied", one.emptied(2.0, SliceState.RELEASED))] if number >= ASLEEP else []
        ledger.write([Entry("filed", one), *over], 1.0)
    ledger.close()


def test_twenty_slices_and_two_thousand_claims(tmp_path: Path) -> None:
    """All twenty go on under the next broker with the processes they had; one is not reclaimed and ends."""
    fill(Ledger(tmp_path / "ledger.db"))

    async def main(had: dict[str, list[Any]]) -> None:
        engine, broker = parts(tmp_path)
        began = time.monotonic()
        await broker.start()
        up = time.monotonic() - began
        assert sorted(engine.survivors()) == sorted(had)
        (silent, *owners) = had
        assert all(broker.reclaim(one, had[one][0]) for one in owners)
        whole = time.monotonic() - began
        print(
            f"{len(owners)} of {len(had)} living slices adopted beside {ASLEEP + ENDED} claims: "
            f"{up:.2f} s to start, {whole:.2f} s until all were reclaimed"
        )
        try:
            assert broker.cluster().used.cpus == LIVING
            for one in owners:
                info = engine.info(one)
                assert info is not None
                assert (info.workers, list(info.pids)) == (1, had[one][1:])
                connection = await broker.connection(one)
                assert connection is not None
            over = asyncio.Event()
            broker.subscribe(lambda one: None if broker.living(silent) else over.set())
            async with asyncio.timeout(60):
                await over.wait()
            assert await_end(had[silent][1:], 0) == []
            assert len(broker.views(None)) == len(owners)
            assert {lease.slice_id for lease in living_leases(broker._ledger, 0)} == {*owners}
            assert events(broker._ledger, silent)[-1].data["state"] == "expired"
            assert len(broker._ledger.living()) == len(owners)
        finally:
            await broker.stop()

    with killed_server(tmp_path, LIVING) as had:
        assert len(had) == LIVING
        asyncio.run(main(had))
    print("afterwards: 0 processes, 0 leases")
