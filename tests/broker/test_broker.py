"""The broker on an engine in memory: sleeping claims, shares, failures, ends."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from aios_lab.broker import Broker, Ledger, Owner, Quotas, Refused
from aios_lab.wire import ClaimRequest, SliceState
from broker.cluster import Cluster, run, running
from broker.memory_engine import MemoryEngine
from broker.records import events, living_leases


def test_a_claim_sleeps_until_its_first_use(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        view = at.broker.view(one)
        assert (view.state, view.dormant, view.workers, view.target) == (SliceState.REQUESTED, True, 0, 0)
        assert "aios.client()" in view.reason
        assert await at.broker.connection(one, 0) is None
        at.broker.activate(one)
        await at.active(one, 2)
        connection = await at.broker.connection(one, 1)
        assert connection is not None
        assert (connection.workers, connection.key) == (2, f"key {one}")
        assert at.broker.view(one).reason == ""

    run(tmp_path, story)


def test_two_claims_share_and_the_second_grows_when_the_first_stops(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 4), at.file("bob", 4)
        at.broker.activate(first)
        await at.active(first, 4)
        at.broker.activate(second)
        await at.active(second, 2)
        await at.active(first, 2)
        assert "ada's ada.ipynb holds 2 of 4 CPU threads" in at.broker.view(second).reason
        at.broker.end(first, "The kernel was shut down.")
        await at.active(second, 4)
        assert not at.broker.living(first)

    run(tmp_path, story, threads=4)


def test_weights_share_two_to_one(tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("projects: {default: {users: {ada: {weight: 200}}}}\n")

    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 6), at.file("bob", 6)
        at.broker.activate(second)
        at.broker.activate(first)
        await at.active(first, 4)
        await at.active(second, 2)

    run(tmp_path, story, threads=6, quotas=quotas)


def test_units_count_as_held_until_the_engine_confirms(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.engine.hold()
        at.broker.activate(second)
        await at.until(lambda: at.broker.view(first).target == 1)
        assert at.broker.view(first).state == SliceState.RESIZING
        assert at.broker.view(second).target == 0
        assert "ada's ada.ipynb gives back 1 worker" in at.broker.view(second).reason
        assert {(lease.slice_id, lease.units) for lease in living_leases(at.ledger, 0)} == {(first, 2)}
        at.engine.go.set()
        await at.active(second, 1)

    run(tmp_path, story)


def test_a_resize_and_another_unit(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 1)
        at.broker.request(one, ClaimRequest(workers=3))
        await at.active(one, 3)
        at.broker.request(one, ClaimRequest(workers=2))
        await at.active(one, 2)
        at.broker.request(one, ClaimRequest(memory="2GB"))
        await at.until(
            lambda: at.broker.view(one).unit.memory == 2_000_000_000 and at.broker.view(one).workers == 2
        )
        assert (one, 0) in at.engine.calls

    run(tmp_path, story, threads=4)


def test_given_back_it_sleeps_and_wakes_again(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        at.broker.release(one)
        assert at.broker.view(one).state == SliceState.DRAINING
        await at.reach(one, SliceState.REQUESTED, 0)
        assert at.broker.view(one).dormant
        assert "Given back" in at.broker.view(one).reason
        assert not at.engine.open
        at.broker.activate(one)
        await at.active(one, 2)

    run(tmp_path, story)


def test_given_back_while_it_starts(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.engine.hold()
        at.broker.activate(one)
        await at.engine.called.wait()
        at.broker.release(one)
        at.engine.go.set()
        await at.reach(one, SliceState.REQUESTED, 0)
        assert not at.engine.open
        assert living_leases(at.ledger, 0) == []

    run(tmp_path, story)


def test_an_engine_that_fails(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        at.engine.broken = "The worker did not start: no room in /tmp."
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.until(
            lambda: at.broker.view(one).state == SliceState.FAILED and not at.broker.view(one).target
        )
        assert at.broker.view(one).problem == at.engine.broken
        assert living_leases(at.ledger, 0) == []
        assert len(at.engine.calls) == 1
        at.engine.broken = ""
        at.broker.activate(one)
        await at.active(one, 2)
        assert at.broker.view(one).problem == ""

    run(tmp_path, story)


def test_growth_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 1)
        at.broker.activate(one)
        await at.active(one, 1)
        at.engine.broken = "The worker did not start."
        at.broker.request(one, ClaimRequest(workers=2))
        await at.until(lambda: bool(at.broker.view(one).problem))
        await at.active(one, 1)
        assert len(at.engine.calls) == 2
        at.engine.broken = ""
        at.broker.activate(one)
        await at.active(one, 2)

    run(tmp_path, story)


def test_a_killed_host_frees_its_units_and_the_claim_sleeps(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.holds.pin(first, "r-1", 2)
        at.broker.activate(second)
        at.engine.kill(first)
        await at.active(second, 2)
        view = at.broker.view(first)
        assert (view.state, view.dormant, view.busy) == (SliceState.REQUESTED, True, False)
        assert "killed by signal 9" in view.problem
        assert "failed" in [event.kind for event in events(at.ledger, first)]
        at.broker.activate(first)
        await at.active(first, 1)

    run(tmp_path, story)


def test_trouble_in_a_slice_is_its_owners_to_read_until_the_next_request(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        at.engine.trouble(one, "The worker was ended: it used 700 MB of 600 MB.")
        assert "700 MB" in at.broker.view(one).problem
        assert [view.problem for view in at.broker.views("bob")] == [""]
        assert at.broker.view(one).workers == 2
        assert "trouble" in [event.kind for event in events(at.ledger, one)]
        at.broker.request(one, ClaimRequest(workers=2, memory="900MB"))
        assert at.broker.view(one).problem == ""

    run(tmp_path, story)


def test_a_restarted_kernel_keeps_its_slice(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        at.broker.holds.pin(one, "r-1", 2)
        at.broker.recycle(one)
        await at.until(lambda: at.engine.restarts == [one])
        assert not at.broker.view(one).busy
        assert at.broker.view(one).workers == 2

    run(tmp_path, story)


def test_others_see_no_details_and_a_token_is_of_one_slice(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        mine, other = at.file("ada", 1), at.file("bob", 1)
        seen = {view.id: view for view in at.broker.views("ada")}
        assert (seen[mine].mine, seen[mine].name) == (True, "work/ada.ipynb")
        assert (seen[other].mine, seen[other].name, seen[other].kernel_id) == (False, "bob.ipynb", None)
        assert seen[other].reason == ""
        assert [view.mine for view in at.broker.views(None, other)] == [False, True]
        token = at.broker.token(other)
        assert token != at.broker.token(mine)
        assert at.broker.reclaim(other, token)
        assert not at.broker.reclaim(other, "guess")
        at.broker.end(other, "over")
        assert not at.broker.reclaim(other, token)
        assert token not in (at.ledger.path.read_bytes() + Path(f"{at.ledger.path}-wal").read_bytes()).decode(
            "latin1"
        )

    run(tmp_path, story)


def test_the_cluster_and_its_principals(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada", 1)
        at.broker.activate(one)
        await at.active(one, 1)
        cluster = at.broker.cluster()
        assert (cluster.used.cpus, cluster.capacity.cpus) == (1, 2)
        shares = {principal.path: principal.share for principal in cluster.principals}
        assert shares == {"cluster": 0.5, "cluster/default": 0.5, "cluster/default/ada": 0.5}

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"workers": 3}, "too_large", "room for 2"),
        ({"cpus": 64}, "too_large", "the largest has 2 CPU threads"),
        ({"memory": "2XB"}, "bad_size", "'2XB'"),
        ({"memory": -1}, "bad_size", "-1"),
        ({"memory": "nan"}, "bad_size", "'nan'"),
        ({"workers": 800, "memory": "1MiB"}, "bad_size", "'1MiB' is no amount of memory a worker"),
        ({"workers": 800, "cpus": 0.01}, "bad_size", "0.01 is no number of CPU threads a worker"),
        ({"cpus": float("inf")}, "bad_size", "inf"),
        ({"gpus": 1}, "no_accelerators", "has none"),
        ({"workers": 1, "min_workers": 2}, "bad_size", "contradict"),
        ({"project": "nobody"}, "unknown_project", "'nobody'"),
    ],
)
def test_requests_that_cannot_be_met(
    tmp_path: Path, fields: dict[str, object], reason: str, says: str
) -> None:
    async def story(at: Cluster) -> None:
        one = at.file("ada")
        request = ClaimRequest.model_validate(fields)
        with pytest.raises(Refused) as refused:
            at.broker.request(one, request)
        assert refused.value.reason == reason
        assert refused.value.status == 422
        assert says in refused.value.message
        assert refused.value.hint
        assert at.broker.view(one).dormant
        filed = at.broker.file(request, Owner("ada"), "And this.")
        assert says in at.broker.view(filed).problem
        assert at.broker.view(filed).problem.startswith("And this.")

    run(tmp_path, story)


def test_a_slice_that_is_not_there(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        with pytest.raises(Refused, match="no slice") as refused:
            at.broker.view("s-1")
        assert refused.value.status == 404
        at.broker.end("s-1", "twice")
        at.broker.holds.unpin("s-1", "r-1")

    run(tmp_path, story)


def test_stopping_leaves_no_lease(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as at:
            one = at.file("ada", 2)
            at.broker.activate(one)
            await at.active(one, 2)
        assert not at.engine.open
        ledger = Ledger(tmp_path / "ledger.db")
        ledger.open()
        assert living_leases(ledger, 0) == []
        assert ledger.living() == []
        ledger.close()

    asyncio.run(main())


def test_a_default_claim_that_cannot_be_met_stops_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        broker = Broker(MemoryEngine(2), Ledger(tmp_path / "l.db"), Quotas(), ClaimRequest(cpus=8))
        with pytest.raises(Refused, match="8 CPU threads"):
            await broker.start()
        # The ledger is free again.
        other = Broker(MemoryEngine(2), Ledger(tmp_path / "l.db"), Quotas())
        await other.start()
        await other.stop()

    asyncio.run(main())


def test_a_ledger_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    """Nothing is granted that is not recorded; and an owner's end frees its processes all the same."""

    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 1)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.holds.pin(second, "r-1", 2)
        other = sqlite3.connect(at.ledger.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        before = at.broker.view(second)
        for change in (at.broker.activate, at.broker.release):
            with pytest.raises(Refused) as refused:
                change(second if change == at.broker.activate else first)
            assert refused.value.reason == "ledger_unavailable"
        with pytest.raises(Refused):
            at.broker.request(first, ClaimRequest(workers=1))
        with pytest.raises(Refused):
            at.file("cy", 1)
        assert at.broker.view(second) == before
        assert at.broker.view(first).target == 2
        at.broker.holds.unpin(second, "r-1")
        assert len(at.broker.views(None)) == 2
        at.broker.end(first, "The kernel was killed.")
        while first in at.engine.open:
            await asyncio.sleep(0)
        while not at.broker.problems():
            await asyncio.sleep(0.01)
        assert at.broker.problems()[0].reason == "ledger_unavailable"
        other.execute("ROLLBACK")
        other.close()
        await at.until(lambda: not at.broker.living(first) and not at.broker.view(second).busy)
        at.broker.activate(second)
        await at.active(second, 1)
        assert [event.kind for event in events(at.ledger, first)][-2:] == ["owner_ended", "emptied"]

    run(tmp_path, story)
