"""Dominant Resource Fairness: the paper's example, and what it proves for all."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aios_lab.allocation import asset_fairness, drf

# Ghodsi et al., NSDI 2011, section 4.1 and Table 1; the continuous values by hand from the same example.
CAPACITY = {"cpu": 9, "mem_gb": 18}
DEMANDS = {"A": {"cpu": 1, "mem_gb": 4}, "B": {"cpu": 3, "mem_gb": 1}}
TABLE_1 = [
    ("B", 0, 1 / 3),
    ("A", 2 / 9, 1 / 3),
    ("A", 4 / 9, 1 / 3),
    ("B", 4 / 9, 2 / 3),
    ("A", 2 / 3, 2 / 3),
]

Capacity = dict[str, float]
Demands = dict[str, dict[str, float]]
Weights = dict[str, float]


def test_the_example_of_the_paper() -> None:
    result = drf(CAPACITY, DEMANDS)
    assert result == {"A": 3, "B": 2}
    assert result["A"] == result.tasks["A"] == 3
    assert result.steps == TABLE_1
    assert result.dominant_shares == {"A": 2 / 3, "B": 2 / 3}
    assert result.used == {"cpu": 9, "mem_gb": 14}


def test_the_example_by_weights_and_in_parts_of_tasks() -> None:
    result = drf(CAPACITY, DEMANDS, {"A": 2, "B": 1}, tasks="continuous")
    assert result.tasks == pytest.approx({"A": 4.153846153846154, "B": 1.3846153846153846})
    assert result.weighted_shares == pytest.approx({"A": 0.46153846153846156, "B": 0.46153846153846156})
    assert result.used["mem_gb"] == pytest.approx(18)
    assert result.steps == []


def test_the_example_by_asset_fairness() -> None:
    assert asset_fairness(CAPACITY, DEMANDS).tasks == pytest.approx({"A": 2.52, "B": 2.16})


def test_who_fits_no_more_does_not_stop_the_others() -> None:
    result = drf({"cpu": 10}, {"big": {"cpu": 6}, "small": {"cpu": 1}})
    assert result == {"big": 1, "small": 4}


def test_those_who_do_not_need_what_ran_out_go_on() -> None:
    result = drf(
        {"cpu": 10, "gpu": 4},
        {"a": {"gpu": 1}, "b": {"gpu": 1, "cpu": 1}, "c": {"cpu": 1}},
        tasks="continuous",
    )
    assert result.tasks == pytest.approx({"a": 2, "b": 2, "c": 8})


@pytest.mark.parametrize("tasks", ["integer", "continuous"])
def test_who_cannot_run_has_nothing_and_the_others_all(tasks: str) -> None:
    result = drf(
        {"cpu": 4, "gpu": 0},
        {"nothing": {}, "zero": {"cpu": 0}, "no gpu": {"cpu": 1, "gpu": 1}, "cpu": {"cpu": 1, "gpu": 0}},
        tasks=tasks,  # type: ignore[arg-type]
    )
    assert result == {"nothing": 0, "zero": 0, "no gpu": 0, "cpu": 4}
    assert result.dominant_shares["cpu"] == 1
    assert drf({}, {}, tasks=tasks) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("tasks", ["integer", "continuous"])
def test_without_a_weight_one_gets_what_the_others_cannot_use(tasks: str) -> None:
    demands = {"paid": {"cpu": 1, "gpu": 1}, "free": {"cpu": 1}, "guest": {"cpu": 1}}
    weights = {"free": 0, "guest": 0}
    result = drf({"cpu": 10, "gpu": 4}, demands, weights, tasks=tasks)  # type: ignore[arg-type]
    assert result == {"paid": 4, "free": 3, "guest": 3}
    assert result.weighted_shares["free"] == math.inf


def test_tenths_are_tenths() -> None:
    """Ten tasks of 0.1 fill 1.0, and three tenths of one user tie with one of 0.3 of another."""
    assert drf({"cpu": 1.0}, {"a": {"cpu": 0.1}}) == {"a": 10}
    assert drf({"cpu": 0.6}, {"a": {"cpu": 0.1}, "b": {"cpu": 0.3}}).order == ("b", "a", "a", "a")


def test_a_large_task_goes_before_a_small_one_that_ties() -> None:
    result = drf({"cpu": 12}, {"a": {"cpu": 1}, "b": {"cpu": 3}, "c": {"cpu": 3}})
    assert result.order[:3] == ("b", "c", "a")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, "many"])
def test_what_is_no_amount_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(ValueError, match="capacity of 'cpu' is"):
        drf({"cpu": wrong}, {"a": {"cpu": 1}})
    with pytest.raises(ValueError, match="demand of 'a' for 'cpu' is"):
        drf({"cpu": 1}, {"a": {"cpu": wrong}})
    with pytest.raises(ValueError, match="weight of 'a' is"):
        drf({"cpu": 1}, {"a": {"cpu": 1}}, {"a": wrong})


def test_what_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'a' demands 'gpu', which the capacity does not name"):
        drf({"cpu": 1}, {"a": {"gpu": 1}})
    with pytest.raises(ValueError, match="weight for 'b'"):
        drf({"cpu": 1}, {"a": {"cpu": 1}}, {"b": 1})
    with pytest.raises(ValueError, match='tasks is \'half\': give "integer" or "continuous"'):
        drf({"cpu": 1}, {"a": {"cpu": 1}}, tasks="half")  # type: ignore[arg-type]


RESOURCES = ("cpu", "gpu", "memory")


def vectors(least: int) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({r: st.integers(least, 9) for r in RESOURCES}).filter(
        lambda v: any(v.values())
    )


@st.composite
def clusters(draw: st.DrawFn, least_demand: int = 0) -> tuple[Capacity, Demands, Weights]:
    capacity = {r: float(draw(st.integers(1, 50))) for r in RESOURCES}
    demands = {name: draw(vectors(least_demand)) for name in "abcde"[: draw(st.integers(1, 5))]}
    return capacity, demands, {name: draw(st.sampled_from([0.5, 1.0, 2.0, 3.0])) for name in demands}


def tasks_from(bundle: dict[str, float], demand: dict[str, float]) -> float:
    """How many tasks of this demand the bundle is enough for."""
    return min(bundle[r] / need for r, need in demand.items() if need)


def bundle(tasks: float, demand: dict[str, float]) -> dict[str, float]:
    return {r: tasks * need for r, need in demand.items()}


SLACK = 1 + 1e-9


@given(clusters())
def test_nobody_does_worse_than_with_an_equal_part_of_everything(
    cluster: tuple[Capacity, Demands, Weights],
) -> None:
    capacity, demands, weights = cluster
    result = drf(capacity, demands, weights, tasks="continuous")
    for user, demand in demands.items():
        part = weights[user] / sum(weights.values())
        assert result[user] * SLACK >= tasks_from(bundle(part, capacity), demand)


@given(clusters())
def test_nobody_envies_another(cluster: tuple[Capacity, Demands, Weights]) -> None:
    capacity, demands, weights = cluster
    result = drf(capacity, demands, weights, tasks="continuous")
    for user, demand in demands.items():
        for other in demands:
            theirs = bundle(result[other] * weights[user] / weights[other], demands[other])
            assert tasks_from(theirs, demand) <= result[user] * SLACK


@given(clusters())
def test_nobody_can_have_more_without_anothers_having_less(
    cluster: tuple[Capacity, Demands, Weights],
) -> None:
    """Everybody needs something that is used up; and among its users nobody is ahead of him (max-min)."""
    capacity, demands, weights = cluster
    result = drf(capacity, demands, weights, tasks="continuous")
    full = [r for r in capacity if result.used[r] >= capacity[r] / SLACK]
    assert all(result.used[r] <= capacity[r] * SLACK for r in capacity)
    level = result.weighted_shares
    for user, demand in demands.items():
        narrow = [r for r in full if demand[r]]
        assert narrow
        assert any(all(level[o] <= level[user] * SLACK for o in demands if demands[o][r]) for r in narrow)


@given(clusters(), vectors(0))
def test_lying_about_the_demand_does_not_pay(
    cluster: tuple[Capacity, Demands, Weights], lie: dict[str, float]
) -> None:
    capacity, demands, weights = cluster
    honest = drf(capacity, demands, weights, tasks="continuous")
    told = drf(capacity, {**demands, "a": lie}, weights, tasks="continuous")
    assert tasks_from(bundle(told["a"], lie), demands["a"]) <= honest["a"] * SLACK


@given(clusters(least_demand=1), st.data())
def test_nobody_has_less_after_another_one_left(
    cluster: tuple[Capacity, Demands, Weights], data: st.DataObject
) -> None:
    capacity, demands, weights = cluster
    assume(len(demands) > 1)
    before = drf(capacity, demands, weights, tasks="continuous")
    leaver = data.draw(st.sampled_from(sorted(demands)))
    rest = {user: demand for user, demand in demands.items() if user != leaver}
    after = drf(capacity, rest, {user: weights[user] for user in rest}, tasks="continuous")
    assert all(before[user] <= after[user] * SLACK for user in rest)


@given(clusters())
def test_whole_tasks_fit_and_no_further_one_does(cluster: tuple[Capacity, Demands, Weights]) -> None:
    capacity, demands, weights = cluster
    result = drf(capacity, demands, weights)
    used = {r: sum(result[user] * demands[user][r] for user in demands) for r in capacity}
    assert result.used == used
    assert all(used[r] <= capacity[r] for r in capacity)
    for demand in demands.values():
        assert any(used[r] + demand[r] > capacity[r] for r in capacity if demand[r])


@given(clusters())
def test_each_whole_task_goes_to_the_lowest_share_that_fits(
    cluster: tuple[Capacity, Demands, Weights],
) -> None:
    capacity, demands, weights = cluster
    result = drf(capacity, demands, weights)
    counts = dict.fromkeys(demands, 0)
    for user in result.order:
        free = {r: capacity[r] - sum(counts[u] * demands[u][r] for u in demands) for r in capacity}
        level = {
            u: counts[u] * max(demands[u][r] / capacity[r] for r in capacity) / weights[u]
            for u in demands
            if all(demands[u][r] <= free[r] for r in capacity)
        }
        assert level[user] <= min(level.values()) * SLACK
        counts[user] += 1
    assert counts == result


@given(clusters(), st.randoms(use_true_random=False), st.sampled_from(["integer", "continuous"]))
def test_the_order_of_the_users_does_not_matter(
    cluster: tuple[Capacity, Demands, Weights], random: Random, tasks: str
) -> None:
    capacity, demands, weights = cluster
    shuffled = dict(random.sample(list(demands.items()), len(demands)))
    one = drf(capacity, demands, weights, tasks=tasks)  # type: ignore[arg-type]
    other = drf(capacity, shuffled, weights, tasks=tasks)  # type: ignore[arg-type]
    assert dict(other) == pytest.approx(dict(one))
    assert other.order == one.order
