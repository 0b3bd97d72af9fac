"""Reports on jobs made by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import Resources
from aios_lab.allocation.simulation import FinishedJob, report
from aios_lab.allocation.simulation.report import Figures

CPU = Resources(cpu=1000)
CLUSTER = Resources(cpu=4000)
# Four CPU threads from 100 on: ada's two jobs, then bob's, who waited for 20 s.
#
#   100       110       120       130       140
#   1111111111111111111133333333333333333333     1: ada, 2 threads; 3: bob, 2 threads
#   1111111111111111111133333333333333333333
#   2222222222··········                         2: ada, 1 thread
JOBS = [
    FinishedJob(1, submit=100, start=100, end=120, need=CPU * 2, user="ada"),
    FinishedJob(2, submit=100, start=100, end=110, need=CPU, user="ada"),
    FinishedJob(3, submit=100, start=120, end=140, need=CPU * 2, user="bob"),
]


def test_figures_by_hand() -> None:
    made = report(JOBS, CLUSTER, intervals=4)
    assert (made.jobs, made.makespan) == (3, 40)
    assert made.wait == Figures(pytest.approx(20 / 3), 0, pytest.approx(19.6))
    assert made.slowdown == Figures(pytest.approx(4 / 3), 1, pytest.approx(1.98))
    assert made.bounded_slowdown == made.slowdown
    assert made.completion == Figures(pytest.approx(70 / 3), 20, pytest.approx(39.6))
    # 40 + 10 + 40 thread-seconds of 160.
    assert made.utilisation == {"cpu": pytest.approx(90 / 160)}
    # ada got all she wanted, bob 20 s of 40: (1 + ½)² / (2 · (1 + ¼)).
    assert made.jain == pytest.approx(0.9)
    assert made.times == (0, 10, 20, 30, 40)
    assert made.shares == {"ada": pytest.approx((0.75, 0.5, 0, 0)), "bob": pytest.approx((0, 0, 0.5, 0.5))}


def test_short_jobs() -> None:
    """A job of 0 s has no slowdown, and one of 1 s after 4 s is 5 by itself, and 1 where it is bounded."""
    jobs = [FinishedJob(1, 0, 4, 5, CPU), FinishedJob(2, 0, 35, 35, CPU)]
    made = report(jobs, CLUSTER)
    assert made.slowdown == Figures(5, 5, 5)
    assert made.bounded_slowdown == Figures(pytest.approx((1 + 3.5) / 2), 2.25, pytest.approx(3.475))


def test_the_dominant_resource_counts() -> None:
    """A whole GPU of two is half of the cluster, whatever little CPU goes with it."""
    capacity = Resources(cpu=8000, memory=1000, gpu=2000)
    jobs = [
        FinishedJob(1, 0, 0, 10, Resources(cpu=1000, gpu=1000), "ada"),
        FinishedJob(2, 0, 0, 10, Resources(cpu=6000), "bob"),
    ]
    made = report(jobs, capacity, intervals=1)
    assert made.shares == {"ada": (0.5,), "bob": (0.75,)}
    assert made.utilisation == {"cpu": 0.875, "memory": 0, "gpu": 0.5}
    assert made.jain == 1


def test_a_job_that_had_fewer_units_for_a_while_used_no_more_than_its_work() -> None:
    """Four threads for 5 s of work, in 10 s: half of the cluster on average, and twice the time."""
    made = report([FinishedJob(1, 0, 0, 10, CPU * 4, "ada", ((0, 1), (2, 0.375)))], CLUSTER, intervals=1)
    assert made.utilisation == {"cpu": 0.5}
    assert made.shares == {"ada": (0.5,)}
    assert made.slowdown == Figures(2, 2, 2)
    assert made.completion.mean == 10
    assert report([FinishedJob(1, 0, 0, 10, CPU * 4, "ada", ((0, 0),))], CLUSTER).utilisation == {"cpu": 0}


def test_all_at_one_moment() -> None:
    made = report([FinishedJob(1, 5, 5, 5, CPU, "ada")], CLUSTER)
    assert made.makespan == 0
    assert made.slowdown == Figures(None, None, None)
    assert made.bounded_slowdown == Figures(1, 1, 1)
    assert made.utilisation == {"cpu": 0}
    assert made.jain == 1
    assert set(made.shares["ada"]) == {0}
    assert "–" in made.to_table()


def test_as_json_and_as_a_table() -> None:
    made = report(JOBS, CLUSTER, intervals=2)
    assert json.loads(json.dumps(made.to_json(), allow_nan=False)) == {
        "jobs": 3,
        "makespan": 40,
        "wait": {"mean": pytest.approx(20 / 3), "p50": 0, "p99": pytest.approx(19.6)},
        "slowdown": {"mean": pytest.approx(4 / 3), "p50": 1, "p99": pytest.approx(1.98)},
        "bounded_slowdown": {"mean": pytest.approx(4 / 3), "p50": 1, "p99": pytest.approx(1.98)},
        "completion": {"mean": pytest.approx(70 / 3), "p50": 20, "p99": pytest.approx(39.6)},
        "utilisation": {"cpu": 0.5625},
        "jain": pytest.approx(0.9),
        "times": [0, 20, 40],
        "shares": {"ada": [0.625, 0], "bob": [0, 0.5]},
        "in_use": {"cpu": [0.625, 0.5]},
        "waits": [0] * 51 + [pytest.approx(20 * (place / 50 - 1)) for place in range(51, 101)],
        "slowdowns": [1] * 51 + [pytest.approx(place / 50) for place in range(51, 101)],
    }
    assert made.to_table().splitlines() == [
        "3 jobs of 2 users in 40 s; in use: cpu 56.2%; Jain's index 0.900.",
        "",
        "                   mean    p50    p99",
        "wait (s)           6.67   0.00  19.60",
        "slowdown           1.33   1.00   1.98",
        "bounded slowdown   1.33   1.00   1.98",
        "completion (s)    23.33  20.00  39.60",
        "",
        "user  mean share  greatest share",
        "ada       31.25%          62.50%",
        "bob       25.00%          50.00%",
    ]


@pytest.mark.parametrize(
    ("jobs", "capacity", "intervals", "problem"),
    [
        ([], CLUSTER, 24, "no job has finished"),
        (JOBS, CLUSTER, 0, "Shares over 0 intervals"),
        (JOBS, Resources(gpu=1000), 24, "Job 1 held 2000 of cpu, and the cluster has none"),
    ],
)
def test_what_cannot_be_reported(
    jobs: list[FinishedJob], capacity: Resources, intervals: int, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        report(jobs, capacity, intervals=intervals)


@pytest.mark.parametrize(
    ("submit", "start", "end", "need"),
    [
        (1, 0, 2, CPU),
        (0, 2, 1, CPU),
        (float("nan"), 1, 2, CPU),
        (0, float("nan"), 2, CPU),
        (0, 1, float("inf"), CPU),
        (0, 1, 2, Resources(memory=-1)),
    ],
)
def test_jobs_that_cannot_have_been(submit: float, start: float, end: float, need: Resources) -> None:
    with pytest.raises(ValueError, match="Job 7: "):
        FinishedJob(7, submit, start, end, need)


whole = st.integers(0, 50)


@given(
    st.lists(st.tuples(whole, whole, whole, st.integers(0, 4), st.sampled_from("abc")), min_size=1),
    st.integers(1, 9),
)
def test_shares_add_up_to_what_was_used(drawn: list[tuple[int, int, int, int, str]], intervals: int) -> None:
    jobs = [
        FinishedJob(number, submit, submit + wait, submit + wait + run, CPU * threads, user)
        for number, (submit, wait, run, threads, user) in enumerate(drawn)
    ]
    made = report(jobs, CLUSTER, intervals=intervals)
    together = sum(sum(parts) for parts in made.shares.values()) / intervals
    assert together == pytest.approx(made.utilisation["cpu"], abs=1e-9)
    assert 1 / len(made.shares) - 1e-9 <= made.jain <= 1 + 1e-9
