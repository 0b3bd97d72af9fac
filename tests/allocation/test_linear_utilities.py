"""Linear utilities and bounded fractions: textbook answers, every corner of small ones, prices that prove."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation.utility import Optimum, bounded_fractions, linear_utilities
from aios_lab.allocation.utility.highs import maximise
from allocation.programs import CLOSE, Program, cost, in_units, programs, shuffled, used
from allocation.vertices import best_corner

Solve = Callable[..., Optimum]

# Hillier, Lieberman, "Introduction to Operations Research", section 3.1 (Wyndor Glass) and the prices of 4.7.
WYNDOR = (
    {"plant 1": 4, "plant 2": 12, "plant 3": 18},
    {"doors": {"plant 1": 1, "plant 3": 3}, "windows": {"plant 2": 2, "plant 3": 2}},
    {"doors": 3, "windows": 5},
)
# Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", section 16.2: 50 pounds of a thief's sack.
SACK = (
    {"pounds": 50},
    {"one": {"pounds": 10}, "two": {"pounds": 20}, "three": {"pounds": 30}},
    {"one": 60, "two": 100, "three": 120},
)


def test_the_factory_of_the_textbook_with_its_prices() -> None:
    result = linear_utilities(*WYNDOR)
    assert result.objective == pytest.approx(36)
    assert result.allocation == pytest.approx({"doors": 2, "windows": 6})
    assert result.prices == pytest.approx({"plant 1": 0, "plant 2": 1.5, "plant 3": 1})
    assert result.used == pytest.approx({"plant 1": 2, "plant 2": 12, "plant 3": 18})
    assert result.status == "optimal"
    assert result.limit_prices == {}


def test_the_sack_of_the_textbook() -> None:
    result = bounded_fractions(*SACK)
    assert result == Optimum(
        objective=240.0,
        allocation={"one": 1, "two": 1, "three": pytest.approx(2 / 3)},
        prices={"pounds": 4},
        used={"pounds": 50},
        gap=0.0,
        limit_prices={"one": 20, "two": 20, "three": 0},
    )


def test_what_ties_where_the_sack_is_full_gets_the_same_fraction() -> None:
    costs = {"a": {"gpu": 0.1}, "b": {"gpu": 0.3}, "best": {"gpu": 0.2}}
    result = bounded_fractions({"gpu": 0.3}, costs, {"a": 0.1, "b": 0.3, "best": 0.4})
    assert result.allocation == {"a": 0.25, "b": 0.25, "best": 1}


def test_what_is_free_is_had_whole_and_what_is_worthless_not_at_all() -> None:
    values = {"free": 1, "worthless": 0, "both": 0, "paid": 2}
    costs = {"free": {}, "worthless": {"cpu": 1}, "both": {"cpu": 0}, "paid": {"cpu": 4}}
    wanted = {"free": 1, "worthless": 0, "both": 0, "paid": 0.5}
    assert bounded_fractions({"cpu": 2}, costs, values).allocation == pytest.approx(wanted)
    assert bounded_fractions({"cpu": 2, "gpu": 1}, costs, values).allocation == pytest.approx(wanted)
    assert bounded_fractions({}, {"free": {}}, {"free": 3}).objective == 3


@pytest.mark.parametrize("solve", [linear_utilities, bounded_fractions])
def test_nobody_gets_nothing_of_nothing(solve: Solve) -> None:
    assert solve({}, {}, {}).objective == 0
    idle = solve({"cpu": 4, "gpu": 0}, {"a": {"cpu": 1, "gpu": 0}}, {"a": 0})
    assert idle.allocation == {"a": 0}
    assert idle.prices == {"cpu": 0, "gpu": 0}
    assert idle.status == "optimal"


def test_an_answer_that_is_not_proven_is_not_called_optimal() -> None:
    assert Optimum(1.0, {}, {}, {}, gap=1e-9).status == "optimal"
    assert Optimum(1.0, {}, {}, {}, gap=2e-9).status == "approximate"


@pytest.mark.parametrize("solve", [linear_utilities, bounded_fractions])
@pytest.mark.parametrize(
    ("capacity", "demands", "values", "message"),
    [
        ({"cpu": math.nan}, {"a": {"cpu": 1}}, {"a": 1}, "capacity of 'cpu' is nan: give a finite number"),
        ({"cpu": math.inf}, {"a": {"cpu": 1}}, {"a": 1}, "capacity of 'cpu' is inf"),
        ({"cpu": -1}, {"a": {"cpu": 1}}, {"a": 1}, "capacity of 'cpu' is -1: give 0 or more"),
        (
            {"cpu": 1e-200},
            {"a": {"cpu": 1}},
            {"a": 1},
            "capacity of 'cpu' is 1e-200: give 0 or a number from",
        ),
        ({"cpu": 0}, {"a": {"cpu": 1}}, {"a": 1}, "capacity of 'cpu' is 0 and 'a' demands it"),
        ({"cpu": 1}, {"a": {"cpu": math.nan}}, {"a": 1}, "demand of 'a' for 'cpu' is nan"),
        ({"cpu": 1}, {"a": {"cpu": -2}}, {"a": 1}, "demand of 'a' for 'cpu' is -2"),
        ({"cpu": 1}, {"a": {"gpu": 1}}, {"a": 1}, "'a' demands 'gpu', which the capacity does not name"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": "much"}, "value of 'a' is 'much'"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": -1}, "value of 'a' is -1"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {}, "'a' has no value: give it one"),
        ({"cpu": 1}, {"a": {"cpu": 1}}, {"a": 1, "b": 1}, "value of 'b', who is not among"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    solve: Solve, capacity: object, demands: object, values: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        solve(capacity, demands, values)


def test_one_that_could_have_any_number_of_tasks_is_refused_by_name() -> None:
    demands = {"a": {"cpu": 1}, "b": {"cpu": 0}}
    with pytest.raises(ValueError, match="no best answer: 'b' demands nothing"):
        linear_utilities({"cpu": 1}, demands, {"a": 1, "b": 1})
    assert linear_utilities({"cpu": 1}, demands, {"a": 1, "b": 0}).allocation == {"a": 1, "b": 0}


def test_a_program_without_an_optimum_is_an_error_of_the_solver_and_no_answer() -> None:
    with pytest.raises(ArithmeticError, match="HiGHS found no optimum"):
        maximise(np.array([1.0]), np.array([[-1.0]]), np.array([0.0]))


def by_corners(program: Program, bounded: bool) -> Fraction:
    capacity, demands, values = program
    users = list(demands)
    matrix = [[Fraction(demands[user][r]) for user in users] for r in capacity]
    ceilings = [Fraction(size) for size in capacity.values()]
    if bounded:
        matrix += [[Fraction(user == other) for other in users] for user in users]
        ceilings += [Fraction(1)] * len(users)
    return best_corner([Fraction(values[user]) for user in users], matrix, ceilings)


@given(programs(most_users=4))
def test_no_corner_of_a_small_program_is_better(program: Program) -> None:
    assert linear_utilities(*program).objective == pytest.approx(float(by_corners(program, bounded=False)))


@given(programs(most_users=3))
def test_no_corner_of_a_small_program_in_fractions_is_better(program: Program) -> None:
    assert bounded_fractions(*program).objective == pytest.approx(float(by_corners(program, bounded=True)))


def check_kkt(program: Program, result: Optimum, limits: Mapping[str, float], slack: float = 1e-8) -> None:
    """The conditions of Karush, Kuhn and Tucker, and the gap between the program and its dual."""
    capacity, demands, values = program
    top = max(values.values())
    for user, x in result.allocation.items():
        paid = cost(demands[user], result.prices) + limits.get(user, 0.0)
        assert x >= 0
        assert paid >= values[user] - slack * top
        assert x * (paid - values[user]) <= slack * max(1.0, result.objective)
    for resource, size in capacity.items():
        assert result.used[resource] == pytest.approx(used(dict(result.allocation), demands, resource))
        assert result.used[resource] <= size * CLOSE
        assert result.prices[resource] >= 0
        assert result.prices[resource] * (size - result.used[resource]) <= slack * max(1.0, result.objective)
    dual = cost(capacity, dict(result.prices)) + sum(limits.values())
    assert dual == pytest.approx(result.objective)
    assert result.objective == pytest.approx(cost(values, dict(result.allocation)))
    assert result.status == "optimal"


@given(programs())
def test_prices_prove_that_the_total_is_largest(program: Program) -> None:
    check_kkt(program, linear_utilities(*program), {})


@given(programs())
def test_prices_prove_that_the_fractions_are_best(program: Program) -> None:
    result = bounded_fractions(*program)
    check_kkt(program, result, result.limit_prices)
    for user, x in result.allocation.items():
        assert x <= 1
        assert result.limit_prices[user] >= 0
        assert result.limit_prices[user] * (1 - x) == pytest.approx(0, abs=1e-8)


@given(programs(most_resources=1))
def test_the_greedy_order_is_as_good_as_the_linear_program(program: Program) -> None:
    """The same with a second resource, of which there is enough for all, is solved as a linear program."""
    capacity, demands, values = program
    plenty = {**capacity, "plenty": 1000.0}
    costs = {user: {**needs, "plenty": 1} for user, needs in demands.items()}
    assert bounded_fractions(plenty, costs, values).objective == pytest.approx(
        bounded_fractions(*program).objective
    )


@pytest.mark.parametrize("solve", [linear_utilities, bounded_fractions])
@given(program=programs(), random=st.randoms(use_true_random=False))
def test_the_order_of_users_and_resources_does_not_matter(
    solve: Solve, program: Program, random: Random
) -> None:
    assert solve(*shuffled(program, random)) == solve(*program)


@pytest.mark.parametrize("solve", [linear_utilities, bounded_fractions])
@given(
    program=programs(), unit=st.sampled_from([1e-9, 0.5, 1024.0, 1e12]), money=st.sampled_from([1e-6, 1e9])
)
def test_units_do_not_matter(solve: Solve, program: Program, unit: float, money: float) -> None:
    capacity, demands, values = in_units(program, unit)
    one = solve(*program)
    other = solve(capacity, demands, {user: value * money for user, value in values.items()})
    assert other.objective == pytest.approx(one.objective * money)
    assert other.status == "optimal"
    # Where the capacity is used up by whole demands many prices are right; what all is worth is the same.
    dual = cost(capacity, dict(other.prices)) + sum(other.limit_prices.values())
    assert dual == pytest.approx(one.objective * money, abs=1e-9 * money)


@pytest.mark.parametrize("solve", [linear_utilities, bounded_fractions])
def test_thousands_of_users_are_no_trouble(solve: Solve) -> None:
    random = Random(7)
    capacity = {f"r{j}": random.uniform(10, 1e5) for j in range(5)}
    demands = {f"u{i}": {r: random.uniform(0.1, 9) for r in capacity} for i in range(3000)}
    result = solve(capacity, demands, {user: random.lognormvariate(0, 2) for user in demands})
    assert result.status == "optimal"
    assert all(result.used[r] <= size * CLOSE for r, size in capacity.items())
