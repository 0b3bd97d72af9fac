"""The core on a clock of its own: who starts when, against a straight-line schedule and little charts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import POLICIES, Node, Principal, Resources, Sharing
from aios_lab.allocation.simulation import FinishedJob, Job, play
from aios_lab.allocation.simulation.orders import ORDERS
from aios_lab.allocation.simulation.protocol import play as protocol_play
from allocation.simulation.workloads import busy, work

THREAD = Resources(cpu=1000)


def machine(threads: int, name: str = "n0") -> Node:
    return Node(name, Resources(cpu=1000 * threads))


def job(number: int, submit: float, run: float, threads: int, **options: object) -> Job:
    return Job(number, submit, run, THREAD, threads, **options)  # type: ignore[arg-type]


def times(finished: Iterable[FinishedJob]) -> dict[int, tuple[float, float]]:
    return {one.id: (one.start, one.end) for one in sorted(finished, key=lambda one: one.id)}


@pytest.mark.parametrize("seed", range(8))
def test_first_come_first_served_is_the_schedule_of_the_published_protocol(seed: int) -> None:
    rows = busy(seed, 120, 8)
    expected = protocol_play(work(8, *rows), ORDERS["fcfs"], backfill=False)
    jobs = [job(n, row.submit, row.run, row.processors) for n, row in enumerate(rows)]
    outcome = play(jobs, [machine(8)], "fcfs")
    assert [start for start, _ in times(outcome.finished).values()] == list(expected.starts)


@st.composite
def workloads(draw: st.DrawFn) -> list[Job]:
    now, jobs = 0.0, []
    for number in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from([0, 1, 3]))
        run = draw(st.sampled_from([0.0, 1.0, 2.0, 7.0]))
        estimate = draw(st.sampled_from([None, run, run + 1, run / 2]))
        threads = draw(st.integers(1, 5))
        user = draw(st.sampled_from(["ada", "bob", "cy"]))
        jobs.append(job(number, now, run, threads, requested=estimate, user=user))
    return jobs


@given(workloads(), st.sampled_from(sorted(POLICIES)), st.booleans())
def test_everybody_has_a_turn_and_no_thread_is_given_twice(
    jobs: list[Job], policy: str, elastic: bool
) -> None:
    nodes = [machine(3), machine(2, "n1")]
    outcome = play(jobs, nodes, policy, elastic=elastic)
    assert not outcome.refused
    assert sorted(one.id for one in outcome.finished) == [one.id for one in jobs]
    spans = times(outcome.finished)
    for one in jobs:
        start, end = spans[one.id]
        assert start >= one.submit
        assert end - start >= (one.run or 0) - 1e-9
        if not elastic:
            assert end - start == pytest.approx(one.run)
            together = [other for other in jobs if spans[other.id][0] <= start < spans[other.id][1]]
            assert sum(other.count for other in together) <= 5


def test_elastic_jobs_share_and_take_over_what_others_leave() -> None:
    """ada's four threads become two when bob comes: her last four seconds of work take two.

    threads  a a b b      a column is two seconds
             a a b b
             a a a .
             a a a .
    """
    jobs = [job(1, 0, 5, 4, user="ada"), job(2, 4, 4, 2, user="bob")]
    outcome = play(jobs, [machine(4)], "fair_share", elastic=True)
    assert times(outcome.finished) == {1: (0.0, 6.0), 2: (4.0, 8.0)}
    assert times(play(jobs, [machine(4)], "fair_share").finished) == {1: (0.0, 5.0), 2: (5.0, 9.0)}


def test_weights_say_who_is_next() -> None:
    """Both want the machine again and again; cy, of twice the weight, has it two times in three."""
    users = [Principal("cluster/default/cy", weight=200), Principal("cluster/default/bob", weight=100)]
    jobs = [job(n, 0, 1, 1, user=("bob", "cy")[n % 2]) for n in range(24)]
    outcome = play(jobs, [machine(3)], "fair_share", principals=users)
    first = [one.user for one in outcome.finished if one.end <= 4]
    assert (first.count("cy"), first.count("bob")) == (8, 4)


def test_who_used_less_is_next() -> None:
    """ada asked for the thread four times before bob came; without usage she has it four times first."""
    jobs = [job(n, 0, 5000, 1, user="ada") for n in range(4)] + [job(4, 8000, 5000, 1, user="bob")]
    outcome = play(jobs, [machine(1)], "fair_share")
    assert [one.user for one in outcome.finished] == ["ada", "ada", "bob", "ada", "ada"]
    outcome = play(jobs, [machine(1)], "fair_share", sharing=Sharing())
    assert [one.user for one in outcome.finished] == ["ada", "ada", "ada", "ada", "bob"]


def test_what_cannot_run_is_told_and_holds_up_nobody() -> None:
    jobs = [job(1, 0, 1, 9), Job(2, 0, None, THREAD), job(3, 0, 1, 4)]
    outcome = play(jobs, [machine(4)], "fcfs")
    assert [one.id for one in outcome.finished] == [3]
    assert [(one.id, why) for one, why in outcome.refused] == [
        (1, "the cluster has no room for it even when empty"),
        (2, "the trace does not know how long it ran"),
    ]


def test_a_limit_that_never_lets_a_job_start_is_told() -> None:
    bounded = [Principal("cluster/default/ada", limit=Resources(cpu=1000))]
    outcome = play([job(1, 0, 1, 2, user="ada")], [machine(4)], principals=bounded)
    assert [why for _, why in outcome.refused] == ["it waits for ever"]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="no policy 'quick'; there are: fair_share, fcfs"):
        play([], [machine(1)], "quick")
    with pytest.raises(ValueError, match="Job 2 was submitted before the one ahead of it"):
        play([job(1, 5, 1, 1), job(2, 4, 1, 1)], [machine(1)])
    with pytest.raises(ValueError, match="Two jobs have the id 1"):
        play([job(1, 5, 1, 1), job(1, 5, 1, 1)], [machine(1)])
    assert play([], []).finished == ()


def test_the_shortest_goes_first() -> None:
    outcome = play([job(0, 0, 2, 1), job(1, 0, 1, 1)], [machine(1)], "sjf")
    assert times(outcome.finished) == {0: (1.0, 3.0), 1: (0.0, 1.0)}
