"""Weighted log utilities: published answers, and prices that prove every other."""

from __future__ import annotations

import math
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import ceei, drf
from aios_lab.allocation.utility import Optimum, log_utilities
from allocation.programs import CLOSE, Program, cost, in_units, programs, shuffled, used

# Ghodsi et al., NSDI 2011: the example of DRF by competitive equilibrium; 45/11 and 18/11 by hand from it.
CAPACITY = {"cpu": 9, "mem_gb": 18}
DEMANDS = {"A": {"cpu": 1, "mem_gb": 4}, "B": {"cpu": 3, "mem_gb": 1}}
EQUILIBRIUM = {"A": 4.090909090909091, "B": 1.6363636363636365}


def test_the_example_of_the_paper() -> None:
    result = log_utilities(CAPACITY, DEMANDS)
    assert result.allocation == pytest.approx(EQUILIBRIUM, rel=1e-12)
    assert result.used == pytest.approx(CAPACITY, rel=1e-12)
    assert result.objective == pytest.approx(math.log(45 / 11) + math.log(18 / 11), rel=1e-12)
    assert result.status == "optimal"


def test_the_example_in_the_shape_of_drf() -> None:
    market, fair = ceei(CAPACITY, DEMANDS), drf(CAPACITY, DEMANDS, tasks="continuous")
    assert type(market) is type(fair)
    assert dict(market) == pytest.approx(EQUILIBRIUM, rel=1e-12)
    assert market.dominant_shares == pytest.approx({"A": 10 / 11, "B": 6 / 11})
    assert market.weighted_shares == market.dominant_shares
    assert market.used == pytest.approx(CAPACITY)
    assert market.steps == []
    assert ceei({}, {}) == {}


@pytest.mark.parametrize("links", [1, 2, 5, 40])
def test_a_route_over_all_links_beside_one_on_each(links: int) -> None:
    """Massoulié, Roberts, "Bandwidth sharing" (INFOCOM 1999): the linear network."""
    capacity = {f"link {j}": 1.0 for j in range(links)}
    routes = {"long": dict.fromkeys(capacity, 1.0), **{f"on {link}": {link: 1.0} for link in capacity}}
    result = log_utilities(capacity, routes)
    short = links / (links + 1)
    assert result.allocation == pytest.approx(dict.fromkeys(routes, short) | {"long": 1 - short})
    assert result.prices == pytest.approx(dict.fromkeys(capacity, 1 / short))


def test_one_resource_is_shared_by_weight() -> None:
    weights = {"a": 1e-6, "b": 1, "c": 1e6}
    result = log_utilities({"gpu": 8}, {name: {"gpu": 2} for name in weights}, weights)
    total = sum(weights.values())
    for name, weight in weights.items():
        assert result.allocation[name] == pytest.approx(4 * weight / total, rel=1e-9)
    assert result.prices["gpu"] == pytest.approx(total / 8)


def test_what_is_full_only_just_has_no_price() -> None:
    """The second resource is full when the first is shared equally, without being what limits anybody."""
    result = log_utilities({"cpu": 2, "gpu": 1}, {"a": {"cpu": 1}, "b": {"cpu": 1, "gpu": 1}})
    assert result.allocation == pytest.approx({"a": 1, "b": 1}, rel=1e-9)
    assert result.used["gpu"] == pytest.approx(1)
    assert result.prices == pytest.approx({"cpu": 1, "gpu": 0}, abs=1e-6)


def test_what_is_left_over_is_free() -> None:
    demands = {"a": {"cpu": 1}, "b": {"cpu": 1, "gpu": 1}}
    result = log_utilities({"cpu": 2, "gpu": 50, "idle": 0}, demands)
    assert result.prices == {"cpu": pytest.approx(1), "gpu": 0.0, "idle": 0.0}


@pytest.mark.parametrize(
    ("capacity", "demands", "weights", "message"),
    [
        ({"cpu": math.nan}, {"a": {"cpu": 1}}, None, "capacity of 'cpu' is nan"),
        ({"cpu": -3}, {"a": {"cpu": 1}}, None, "capacity of 'cpu' is -3"),
        ({"cpu": 4, "gpu": 0}, {"a": {"gpu": 1}}, None, "capacity of 'gpu' is 0 and 'a' demands it"),
        ({"cpu": 1}, {"a": {"cpu": math.inf}}, None, "demand of 'a' for 'cpu' is inf"),
        ({"cpu": 1}, {"a": {"cpu": 1}, "b": {"cpu": 0}}, None, "no best answer: 'b' demands nothing"),
        ({"cpu": 1}, {"a": {"gpu": 1}}, None, "'a' demands 'gpu', which the capacity does not name"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": 0}, "weight of 'a' is 0: give more, or leave 'a' out"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": math.nan}, "weight of 'a' is nan"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": -1}, "weight of 'a' is -1"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"b": 1}, "weight of 'b', who is not among"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    capacity: object, demands: object, weights: object, message: str
) -> None:
    for solve in (log_utilities, ceei):
        with pytest.raises(ValueError, match=message):
            solve(capacity, demands, weights)  # type: ignore[operator]


def check_kkt(program: Program, result: Optimum, slack: float = 1e-9) -> None:
    """The conditions of Karush, Kuhn and Tucker: all spend their weights, and what is left has no price."""
    capacity, demands, weights = program
    total = sum(weights.values())
    for user, x in result.allocation.items():
        assert x > 0
        assert x * cost(demands[user], dict(result.prices)) == pytest.approx(weights[user], rel=slack)
    for resource, size in capacity.items():
        assert result.used[resource] == pytest.approx(used(dict(result.allocation), demands, resource))
        assert result.used[resource] <= size * (1 + slack)
        assert result.prices[resource] >= 0
        assert result.prices[resource] * (size - result.used[resource]) <= slack * total
    assert cost(capacity, dict(result.prices)) == pytest.approx(total, rel=slack)
    assert 0 <= result.gap <= slack
    assert result.status == "optimal"


@given(programs(least_value=1))
def test_prices_prove_that_the_product_is_largest(program: Program) -> None:
    check_kkt(program, log_utilities(*program))


@given(programs(least_value=1), st.lists(st.integers(-8, 8), min_size=6, max_size=6))
def test_prices_prove_it_for_weights_of_very_unequal_size(program: Program, powers: list[int]) -> None:
    capacity, demands, weights = program
    unequal = {user: weights[user] * 10.0**power for user, power in zip(demands, powers, strict=False)}
    check_kkt((capacity, demands, unequal), log_utilities(capacity, demands, unequal), 1e-8)


@given(programs(most_users=2, least_value=1), st.integers(0, 400))
def test_no_other_division_between_two_is_better(program: Program, step: int) -> None:
    """The first has some part of the most that it could, the second all that still fits."""
    capacity, demands, weights = program
    users = list(demands)
    most = min(capacity[r] / need for r, need in demands[users[0]].items() if need)
    tried = {users[0]: most * (step + 1) / 401}
    for user in users[1:]:
        free = {r: capacity[r] - used(tried, demands, r) for r in capacity}
        tried[user] = min(free[r] / need for r, need in demands[user].items() if need)
    if min(tried.values()) > 0:
        value = sum(weights[user] * math.log(x) for user, x in tried.items())
        assert value <= log_utilities(*program).objective + 1e-9


@given(programs(least_value=1))
def test_nobody_envies_another_and_all_do_as_well_as_with_a_part_of_everything(program: Program) -> None:
    capacity, demands, weights = program
    tasks = ceei(*program)
    for user, needs in demands.items():
        wanted = {r: need for r, need in needs.items() if need}
        part = weights[user] / sum(weights.values())
        assert tasks[user] * CLOSE >= min(part * capacity[r] / need for r, need in wanted.items())
        for other in demands:
            theirs = {
                r: tasks[other] * need * weights[user] / weights[other] for r, need in demands[other].items()
            }
            assert min(theirs[r] / need for r, need in wanted.items()) <= tasks[user] * CLOSE


@given(programs(least_value=1), st.randoms(use_true_random=False))
def test_the_order_of_users_and_resources_does_not_matter(program: Program, random: Random) -> None:
    assert log_utilities(*shuffled(program, random)) == log_utilities(*program)


@given(programs(least_value=1))
def test_names_do_not_matter(program: Program) -> None:
    capacity, demands, weights = program
    renamed = {user: chr(ord("z") - i) for i, user in enumerate(demands)}
    other = log_utilities(
        capacity,
        {renamed[user]: needs for user, needs in demands.items()},
        {renamed[user]: weight for user, weight in weights.items()},
    )
    for user, x in log_utilities(*program).allocation.items():
        assert other.allocation[renamed[user]] == pytest.approx(x, rel=1e-9)


@given(programs(least_value=1), st.sampled_from([1e-9, 0.5, 1e12]), st.sampled_from([1e-6, 3.0, 1e9]))
def test_units_do_not_matter(program: Program, unit: float, money: float) -> None:
    capacity, demands, weights = in_units(program, unit)
    one = log_utilities(*program)
    other = log_utilities(capacity, demands, {user: weight * money for user, weight in weights.items()})
    assert other.allocation == pytest.approx(dict(one.allocation), rel=1e-9)
    larger = {user: {r: need * 4 for r, need in needs.items()} for user, needs in demands.items()}
    quarter = {user: x / 4 for user, x in one.allocation.items()}
    assert log_utilities(capacity, larger, weights).allocation == pytest.approx(quarter, rel=1e-9)


@pytest.mark.parametrize(("users", "resources", "spread"), [(3000, 5, 1.0), (3000, 5, 4.0), (300, 30, 2.0)])
def test_thousands_of_users_pay_what_they_have(users: int, resources: int, spread: float) -> None:
    random = Random(11)
    capacity = {f"r{j}": random.uniform(10, 1e5) for j in range(resources)}
    demands = {
        f"u{i}": {r: random.uniform(0.1, 9) for r in capacity if random.random() < 0.7} or {"r0": 1.0}
        for i in range(users)
    }
    weights = {user: 10 ** random.uniform(-spread, spread) for user in demands}
    check_kkt((capacity, demands, weights), log_utilities(capacity, demands, weights))


def test_the_library_loads_no_numpy_until_it_is_used() -> None:
    code = (
        "import sys, aios_lab.allocation.utility as u; "
        "print([m for m in ('numpy', 'scipy') if m in sys.modules]); "
        "u.log_utilities({'cpu': 1}, {'a': {'cpu': 1}}); "
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
