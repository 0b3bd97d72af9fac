"""Sharing types of accelerators: Gavel's own example, every corner of small ones, prices that prove."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_lab.allocation.utility import Timeshares, max_min_throughput, max_sum_throughput
from allocation.programs import CLOSE, Amounts
from allocation.vertices import best_corner

# stanford-futuredata/gavel scheduler/tests/policies_tests.py at c4fa4009 (MIT): max_min_fairness_with_perf.
# It asserts no value; the optimum was computed from its policy's program.
THROUGHPUTS = {"0": {"v100": 2.0, "p100": 1.0, "k80": 0.5}, "1": {"v100": 3.0, "p100": 2.0, "k80": 1.0}}
WORKERS = {"v100": 1, "p100": 2, "k80": 3}
OPTIMUM = 1.5483870967741935
# The costs of its max-sum tests.
COSTS = {"v100": 3.1, "p100": 2.0, "k80": 0.8}

# The nightly 10,000 examples of a test solve 20,000 to 40,000 linear programs.
pytestmark = pytest.mark.timeout(1200)

Cluster = tuple[dict[str, Amounts], Amounts, Amounts, Amounts]


def test_the_example_of_gavel() -> None:
    result = max_min_throughput(THROUGHPUTS, WORKERS, {"0": 1, "1": 1}, {"0": 1, "1": 1})
    assert result.objective == pytest.approx(OPTIMUM, rel=1e-12)
    assert result.levels == pytest.approx({"0": OPTIMUM, "1": OPTIMUM})
    # With an equal part of the cluster the first does (2 · 1 + 1 · 2 + 0.5 · 3) / 6, the second 10 / 6.
    assert result.throughputs == pytest.approx({"0": OPTIMUM * 5.5 / 6, "1": OPTIMUM * 10 / 6})
    for job, speeds in THROUGHPUTS.items():
        done = sum(speeds[kind] * part for kind, part in result.allocation[job].items())
        assert result.throughputs[job] == pytest.approx(done)
    assert result.prices == pytest.approx({"v100": 12 / 31, "p100": 0, "k80": 0}, abs=1e-9)
    assert result.status == "optimal"


def test_the_most_output_and_the_most_per_cost() -> None:
    """There is room for both at all times: one on the V100, the other on a P100."""
    assert max_sum_throughput(THROUGHPUTS, WORKERS).objective == pytest.approx(4)
    per_cost = max_sum_throughput(THROUGHPUTS, WORKERS, costs=COSTS)
    assert per_cost.levels == pytest.approx({"0": 2 / 3.1, "1": 1 / 0.8})
    assert per_cost.allocation["1"] == pytest.approx({"v100": 0, "p100": 0, "k80": 1}, abs=1e-9)


def test_twice_the_priority_is_twice_the_throughput() -> None:
    same = {"a": {"v100": 2.0}, "b": {"v100": 2.0}}
    result = max_min_throughput(same, {"v100": 1}, priorities={"a": 2})
    assert result.throughputs == pytest.approx({"a": 4 / 3, "b": 2 / 3})


def test_a_job_of_two_workers_gets_half_the_time_of_a_job_of_one() -> None:
    same = {"wide": {"v100": 2.0}, "narrow": {"v100": 2.0}}
    result = max_min_throughput(same, {"v100": 2}, scale_factors={"wide": 2})
    assert result.allocation["wide"] == pytest.approx({"v100": 0.5})
    assert result.allocation["narrow"] == pytest.approx({"v100": 1})
    assert result.levels == pytest.approx({"wide": 1, "narrow": 1})


def test_a_type_that_a_job_cannot_run_on_is_left_out() -> None:
    result = max_min_throughput({"a": {"v100": 4.0}, "b": {"k80": 0.5}}, {"v100": 1, "k80": 1})
    assert result.throughputs == pytest.approx({"a": 4, "b": 0.5})
    assert result.levels == pytest.approx({"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("throughputs", "workers", "options", "message"),
    [
        ({}, {"v100": 1}, {}, "no job"),
        ({"a": {"v100": math.nan}}, {"v100": 1}, {}, "throughput of 'a' on 'v100' is nan"),
        ({"a": {"v100": -1}}, {"v100": 1}, {}, "throughput of 'a' on 'v100' is -1"),
        ({"a": {"v100": 1}}, {"v100": math.inf}, {}, "workers of 'v100' is inf"),
        ({"a": {"v100": 1}}, {"v100": 1, "k80": 0}, {}, "'k80' has no workers"),
        ({"a": {"h100": 1}}, {"v100": 1}, {}, "'a' has a throughput on 'h100', of which"),
        ({"a": {"v100": 0}}, {"v100": 1}, {}, "'a' has no throughput on any type"),
        ({"a": {"v100": 1}}, {"v100": 1}, {"scale_factors": {"a": 0}}, "scale factor of 'a' is 0"),
        ({"a": {"v100": 1}}, {"v100": 1}, {"scale_factors": {"b": 1}}, "scale factor of 'b'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    throughputs: object, workers: object, options: dict[str, object], message: str
) -> None:
    for solve in (max_min_throughput, max_sum_throughput):
        with pytest.raises(ValueError, match=message):
            solve(throughputs, workers, **options)  # type: ignore[operator]


def test_a_job_that_cannot_be_compared_with_the_others_is_refused_by_name() -> None:
    # An equal part of the cluster makes 5.5 / 6 for it, only the V100 makes 2.
    with pytest.raises(ValueError, match=r"'0' can have 2\.18182e\+12 times the level"):
        max_min_throughput(THROUGHPUTS, WORKERS, {"0": 1e-12})
    with pytest.raises(ValueError, match=r"'1' runs on 1e\+13 times the workers of a type"):
        max_sum_throughput(THROUGHPUTS, WORKERS, {"1": 1e13})


def test_wrong_priorities_and_costs_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="priority of '1' is 0: give more"):
        max_min_throughput(THROUGHPUTS, WORKERS, {"1": 0})
    with pytest.raises(ValueError, match="cost of 'k80' is -1"):
        max_sum_throughput(THROUGHPUTS, WORKERS, costs={"k80": -1})
    with pytest.raises(ValueError, match="cost of 'h100', who is not among"):
        max_sum_throughput(THROUGHPUTS, WORKERS, costs={"h100": 1})


@st.composite
def clusters(draw: st.DrawFn, jobs: int = 5, types: int = 3) -> Cluster:
    kinds = ("k80", "p100", "v100")[: draw(st.integers(1, types))]
    speeds = st.fixed_dictionaries({kind: st.integers(0, 8) for kind in kinds}).filter(
        lambda row: any(row.values())
    )
    throughputs = {name: draw(speeds) for name in "abcde"[: draw(st.integers(1, jobs))]}
    return (
        throughputs,
        {kind: draw(st.integers(1, 6)) for kind in kinds},
        {name: draw(st.sampled_from([1, 2, 5])) for name in throughputs},
        {name: draw(st.sampled_from([1, 2, 4])) for name in throughputs},
    )


def by_corners(cluster: Cluster) -> Fraction:
    """Gavel's program as it is written, variable by variable."""
    throughputs, workers, priorities, scale = cluster
    jobs, kinds = list(throughputs), list(workers)
    total = sum(Fraction(n) for n in workers.values())
    fair = {job: sum(Fraction(throughputs[job][k]) * workers[k] for k in kinds) / total for job in jobs}
    places = [(job, kind) for job in jobs for kind in kinds]
    level = [
        [-Fraction(scale[j] * throughputs[j][k]) / (priorities[j] * fair[j]) * (j == job) for j, k in places]
        for job in jobs
    ]
    time = [[Fraction(j == job) for j, _ in places] for job in jobs]
    room = [[Fraction(scale[j]) * (k == kind) for j, k in places] for kind in kinds]
    matrix = [[*row, Fraction(1)] for row in level] + [[*row, Fraction(0)] for row in (*time, *room)]
    ceilings = [Fraction(0)] * len(jobs) + [Fraction(1)] * len(jobs) + [Fraction(workers[k]) for k in kinds]
    return best_corner([*[Fraction(0)] * len(places), Fraction(1)], matrix, ceilings)


# Each example tries some 500 corners; more of them would take a quarter of an hour a night.
@settings(max_examples=200)
@given(clusters(jobs=2, types=2))
def test_no_corner_of_a_small_program_is_better(cluster: Cluster) -> None:
    assert max_min_throughput(*cluster).objective == pytest.approx(float(by_corners(cluster)))


def check_fits(cluster: Cluster, result: Timeshares) -> None:
    throughputs, workers, _, scale = cluster
    for job, parts in result.allocation.items():
        assert min(parts.values()) >= 0
        assert sum(parts.values()) <= CLOSE
        assert result.throughputs[job] == pytest.approx(
            sum(throughputs[job][k] * x for k, x in parts.items())
        )
    for kind, count in workers.items():
        assert sum(scale[job] * parts[kind] for job, parts in result.allocation.items()) <= count * CLOSE


def check_prices(
    cluster: Cluster, result: Timeshares, gains: dict[str, Amounts], slack: float = 1e-8
) -> None:
    """Prices pay for all time on all workers, exactly for what is in use; what is not full costs nothing."""
    _, workers, _, scale = cluster
    small = slack * max(1.0, result.objective)
    for job, parts in result.allocation.items():
        assert result.time_prices[job] >= 0
        assert result.time_prices[job] * (1 - sum(parts.values())) <= small
        for kind, x in parts.items():
            paid = result.time_prices[job] + scale[job] * result.prices[kind]
            assert paid >= gains[job][kind] - small
            assert x * (paid - gains[job][kind]) <= small
    for kind, count in workers.items():
        busy = sum(scale[job] * parts[kind] for job, parts in result.allocation.items())
        assert result.prices[kind] >= 0
        assert result.prices[kind] * (count - busy) <= small
    dual = sum(result.prices[kind] * n for kind, n in workers.items()) + sum(result.time_prices.values())
    assert dual == pytest.approx(result.objective)
    assert result.status == "optimal"


@given(clusters())
def test_prices_prove_that_the_smallest_is_largest(cluster: Cluster) -> None:
    throughputs, workers, priorities, scale = cluster
    result = max_min_throughput(*cluster)
    total = sum(workers.values())
    gains: dict[str, Amounts] = {}
    for job, speeds in throughputs.items():
        equal = sum(speeds[kind] * n for kind, n in workers.items()) / total
        factor = scale[job] / (priorities[job] * equal)
        assert result.levels[job] == pytest.approx(factor * result.throughputs[job])
        assert result.multipliers[job] * (result.levels[job] - result.objective) <= 1e-8 * result.objective
        gains[job] = {kind: result.multipliers[job] * factor * speed for kind, speed in speeds.items()}
    assert sum(result.multipliers.values()) == pytest.approx(1)
    assert result.objective == min(result.levels.values())
    check_fits(cluster, result)
    check_prices(cluster, result, gains)


@given(clusters(), st.fixed_dictionaries({k: st.sampled_from([0.8, 2.0, 3.1]) for k in COSTS}))
def test_prices_prove_that_the_sum_is_largest(cluster: Cluster, costs: Amounts) -> None:
    throughputs, workers, _, scale = cluster
    costs = {kind: costs[kind] for kind in workers}
    result = max_sum_throughput(throughputs, workers, scale, costs)
    gains = {j: {kind: speed / costs[kind] for kind, speed in row.items()} for j, row in throughputs.items()}
    assert result.objective == pytest.approx(sum(result.levels.values()))
    assert result.multipliers == {}
    check_fits(cluster, result)
    check_prices(cluster, result, gains)


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_jobs_and_types_does_not_matter(cluster: Cluster, random: Random) -> None:
    mixed = [dict(random.sample(list(part.items()), len(part))) for part in cluster]
    assert max_min_throughput(*mixed) == max_min_throughput(*cluster)
    throughputs, workers, _, scale = cluster
    assert max_sum_throughput(mixed[0], mixed[1], mixed[3]) == max_sum_throughput(throughputs, workers, scale)


@given(clusters(), st.sampled_from([1e-9, 0.3, 1e12]), st.sampled_from([1e-6, 7.0, 1e6]))
def test_the_units_of_throughputs_and_priorities_do_not_matter(
    cluster: Cluster, unit: float, factor: float
) -> None:
    throughputs, workers, priorities, scale = cluster
    measured = {job: {kind: speed * unit for kind, speed in row.items()} for job, row in throughputs.items()}
    raised = {job: priority * factor for job, priority in priorities.items()}
    one, other = max_min_throughput(*cluster), max_min_throughput(measured, workers, raised, scale)
    assert other.objective * factor == pytest.approx(one.objective)
    assert other.status == "optimal"
    total = max_sum_throughput(throughputs, workers, scale).objective
    assert max_sum_throughput(measured, workers, scale).objective == pytest.approx(total * unit)


def test_a_thousand_jobs_are_no_trouble() -> None:
    random = Random(3)
    kinds = ("k80", "p100", "v100", "h100")
    throughputs = {
        f"job {i}": {k: random.uniform(0.1, 9) * (n + 1) for n, k in enumerate(kinds)} for i in range(1000)
    }
    workers = {kind: random.randint(50, 400) for kind in kinds}
    scale = {job: random.choice([1, 1, 2, 4, 8]) for job in throughputs}
    result = max_min_throughput(throughputs, workers, None, scale)
    assert result.status == "optimal"
    check_fits((throughputs, workers, {}, scale), result)
