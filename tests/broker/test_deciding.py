"""What the broker decides by, and what it records of it: policies and quotas that change, plans."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aios_lab.wire import ClaimRequest
from broker.cluster import Cluster, run
from broker.records import events


def test_every_decision_is_in_the_ledger(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.activate(second)
        await at.active(second, 1)
        plans = [event.data for event in events(at.ledger) if event.kind == "plan"]
        assert [(len(plan["grants"]), len(plan["shrinks"])) for plan in plans] == [(1, 0), (0, 1), (1, 0)]
        assert len({plan["hash"] for plan in plans}) == 3
        assert plans[1]["snapshot"]["leases"] == [{"claim": first, "node": "local", "units": 2}]

    run(tmp_path, story)


def test_a_policy_that_changes_counts_without_a_restart(tmp_path: Path) -> None:
    """First come, first served: who holds the machine keeps it, where fair share would divide it."""
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text("policy: fcfs\n")

    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2)
        at.broker.activate(first)
        await at.active(first, 2)
        at.broker.activate(second)
        await at.until(lambda: "number 1 in the queue" in at.broker.view(second).reason)
        assert at.broker.cluster().policy == "fcfs"
        quotas.write_text("policy: fair_share\n")
        await at.active(second, 1)
        await at.active(first, 1)
        quotas.write_text("policy: quick\n")
        async with asyncio.timeout(20):
            while not at.broker.problems():  # nobody is told of these: they are asked for
                await asyncio.sleep(0.05)
        assert "'quick' is none; there are: fair_share, fcfs" in at.broker.problems()[0].message
        assert at.broker.cluster().policy == "fair_share"

    run(tmp_path, story, quotas=quotas)


def test_a_program_without_an_answer_is_shown_and_leaves_the_decision_to_fair_share(tmp_path: Path) -> None:
    """Weights that are more than 1e30 apart cannot be computed with."""
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text(
        "policy: utility:linear\n"
        "fair_share: {guard: 0}\n"
        "projects:\n"
        "  default: {weight: 1000000, priority: 20, users: {ada: {weight: 1000000, priority: 20}}}\n"
        "  other: {weight: 1, priority: -20, users: {bob: {weight: 1, priority: -20}}}\n"
    )

    async def story(at: Cluster) -> None:
        first, second = at.file("ada", 2), at.file("bob", 2, project="other")
        at.broker.activate(first)
        await at.active(first, 2)
        assert at.broker.problems() == []
        at.broker.activate(second)
        async with asyncio.timeout(20):
            while not at.broker.problems():
                await asyncio.sleep(0.05)
        problem = at.broker.problems()[0]
        assert problem.reason == "policy_failed"
        assert problem.message.startswith("policy utility:linear: Fair share decided, because the program")
        plan = [event.data for event in events(at.ledger) if event.kind == "plan"][-1]
        assert plan["note"] in problem.message
        quotas.write_text("policy: utility\nprojects: {other: {}}\n")
        async with asyncio.timeout(20):
            while at.broker.problems():
                await asyncio.sleep(0.05)

    run(tmp_path, story, quotas=quotas)


def test_quotas_that_change_count_without_a_restart(tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.yaml"

    async def story(at: Cluster) -> None:
        one = at.file("ada", 2)
        at.broker.activate(one)
        await at.active(one, 2)
        quotas.write_text("projects: {default: {limit: {cpus: 1}}}\n")
        await at.active(one, 1)
        quotas.write_text("projects: {default: {limit: {cpus: many}}}\n")
        while not at.broker.problems():
            await asyncio.sleep(0.05)
        assert "line 1" in at.broker.problems()[0].message

    run(tmp_path, story, quotas=quotas)


def test_what_was_said_of_the_old_size_is_not_said_of_the_new_one(tmp_path: Path) -> None:
    async def story(at: Cluster) -> None:
        one, other = at.file("ada", 2), at.file("bob", 2)
        for each in (one, other):
            at.broker.activate(each)
        await at.active(one, 1)
        await at.active(other, 1)
        await at.until(lambda: "Waiting for 1 more worker" in at.broker.view(one).reason)
        at.broker.request(one, ClaimRequest(workers=1))
        assert at.broker.view(one).reason == ""

    run(tmp_path, story, threads=2)
