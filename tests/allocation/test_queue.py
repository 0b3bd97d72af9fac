"""Queue policies on one machine of four threads, drawn as little charts: a column is a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aios_lab.allocation import Demand, Lease, Principal, Resources, Snapshot, decide, explain, validate
from allocation.snapshots import THREAD, demand, node

MACHINE = node(4)


def job(claim: str, threads: int, seconds: float | None, submitted: float, **options: object) -> Demand:
    """All its threads at once, as many as it will ever have."""
    return demand(claim, claim, threads, min=threads, duration=seconds, submitted=submitted, **options)


def queue(*waiting: Demand, running: tuple[Demand, ...] = (), now: float = 0.0) -> Snapshot:
    started = tuple(replace(one, started=0.0, submitted=-1.0) for one in running)
    leases = tuple(Lease(one.claim, MACHINE.name, one.min) for one in running)
    return Snapshot((MACHINE,), (), (*started, *waiting), leases, now)


def starts(snapshot: Snapshot, policy: str) -> str:
    """The claims that start now, in order of their names."""
    plan = decide(snapshot, policy)
    validate(snapshot, plan)
    assert not plan.shrinks
    return " ".join(sorted({grant.claim for grant in plan.grants}))


# r holds two threads for three seconds; h needs all four and waits for it; then three who could fit beside:
#   threads  r r r h h h        s fits before h begins
#            r r r h h h        t lasts into h
#            s s . h h h        u does as well, and nobody said how long it is
#            . . . h h h
RUNNING = job("r", 2, 3, 0)
HEAD = job("h", 4, 3, 1)
SHORT, LONG, UNKNOWN = job("s", 1, 2, 2), job("t", 1, 4, 3), job("u", 1, None, 4)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("fcfs", ""),
        ("fcfs+easy", "s"),
        ("fcfs+conservative", "s"),
        ("sjf", "s"),
        ("saf", "s t"),
        ("sjf+easy", "s"),
    ],
)
def test_who_is_let_past_a_head_that_waits(policy: str, expected: str) -> None:
    assert starts(queue(HEAD, SHORT, LONG, UNKNOWN, running=(RUNNING,)), policy) == expected


def test_what_the_head_leaves_over_may_be_used_for_longer() -> None:
    """h needs three threads only: one stays free beside it, for as long as anybody likes."""
    snapshot = queue(job("h", 3, 3, 1), UNKNOWN, LONG, running=(RUNNING,))
    assert starts(snapshot, "fcfs+easy") == "t"
    assert starts(snapshot, "fcfs") == ""


def test_easy_protects_the_first_who_waits_and_conservative_all() -> None:
    """b cannot start before h ends; c, started now, would still hold a thread then.

    threads  r r r h h h b b     c lasts seven seconds: beside h, but not beside b, who needs all four
             r r r h h h b b
             . . . h h h b b
             c c c c c c c b
    """
    waiting = (job("h", 3, 3, 1), job("b", 4, 2, 2), job("c", 1, 7, 3))
    assert starts(queue(*waiting, running=(RUNNING,)), "fcfs+easy") == "c"
    assert starts(queue(*waiting, running=(RUNNING,)), "fcfs+conservative") == ""


def test_a_claim_that_outlasts_its_word_may_end_any_moment() -> None:
    """r said three seconds, and five have gone: h is promised the next moment, so not even s may pass."""
    late = queue(HEAD, SHORT, running=(RUNNING,), now=5.0)
    assert starts(late, "fcfs+easy") == ""


def test_orders() -> None:
    waiting = (
        job("old", 3, 9, 0),
        job("short", 3, 1, 1),
        job("small", 1, 2, 2),
        job("high", 3, 9, 3, priority=2),
    )
    first = {policy: starts(queue(*waiting), policy) for policy in ("fcfs", "sjf", "saf", "priority")}
    # beside three threads there is room for the small one, where it is next in the queue
    assert first == {"fcfs": "old", "sjf": "short small", "saf": "short small", "priority": "high"}


def test_waiting_makes_up_for_priority() -> None:
    patient = job("patient", 4, 1, 0.0)
    urgent = job("urgent", 4, 1, 7000.0, priority=2)
    assert starts(queue(patient, urgent, now=7000.0), "priority") == "urgent"
    assert starts(queue(patient, replace(urgent, submitted=7300.0), now=7300.0), "priority") == "patient"


def test_room_beyond_minimums_is_for_when_nobody_waits() -> None:
    elastic = demand("e", "ada", 4)
    assert decide(queue(elastic), "fcfs").grants[0].units == 4
    waits = queue(elastic, job("h", 4, 1, 1))
    assert decide(waits, "fcfs").grants[0].units == 1
    assert "what is free goes to those first who wait" in decide(waits, "fcfs").reasons["e"]


def test_who_can_never_start_or_is_at_a_limit_holds_up_nobody() -> None:
    large, limited, small = job("large", 9, 1, 0), job("limited", 2, 1, 1), job("small", 1, 1, 2)
    limit = Principal(limited.principal, limit=Resources(cpu=1000, memory=1 << 40))
    snapshot = replace(queue(large, limited, small), principals=(limit,))
    assert starts(snapshot, "fcfs") == "small"
    reasons = decide(snapshot, "fcfs").reasons
    assert reasons["large"].startswith("It can never start")
    assert "user limited may use at most 1 CPU thread" in reasons["limited"]


def test_a_reason_tells_the_place_in_the_queue_and_who_is_ahead() -> None:
    waiting = [job(name, 4, 1, place) for place, name in enumerate("abcdef")]
    snapshot = queue(*waiting, running=(RUNNING,))
    assert explain(snapshot, "a", "fcfs") == (
        "Waiting for 4 workers (1 CPU thread, 1.07 GB of memory each): it is number 1 in the queue "
        "(first come, first served); r's r.ipynb holds 2 of 4 CPU threads; 2 workers would start now."
    )
    assert "number 6 in the queue (first come, first served), after c's c.ipynb" in explain(
        snapshot, "f", "fcfs"
    )
    assert "and 2 more" in explain(snapshot, "f", "fcfs")


def test_what_is_above_an_own_maximum_is_given_back() -> None:
    less = replace(demand("e", "ada", 1), started=0.0)
    snapshot = Snapshot((MACHINE,), (), (less,), (Lease("e", MACHINE.name, 3),))
    plan = decide(snapshot, "fcfs+easy")
    validate(snapshot, plan)
    assert [(change.claim, change.units) for change in plan.shrinks] == [("e", 2)]


def test_several_nodes_hold_the_threads_of_one_claim() -> None:
    nodes = (node(2, "n0"), node(3, "n1"))
    wide = Demand("wide", "cluster/default/ada", THREAD, 4, 4, duration=2.0)
    beside = Demand("beside", "cluster/default/bob", THREAD, 1, 1, duration=5.0, submitted=1.0)
    plan = decide(Snapshot(nodes, (), (wide, beside)), "fcfs+conservative")
    assert [(c.claim, c.node, c.units) for c in plan.grants] == [
        ("beside", "n1", 1),
        ("wide", "n0", 2),
        ("wide", "n1", 2),
    ]
