"""Kueue's dominant share: the numbers of its tests, and bad input."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import dominant_share

GPU = "example.com/gpu"

# kubernetes-sigs/kueue pkg/cache/scheduler/fair_sharing_test.go at ff69552e (numbers only; Apache-2.0):
# nominal, usage, added, lendable in the cohort, weight, then share and resource.
PUBLISHED = [
    ("no cohort", {GPU: 5}, {GPU: 7}, {}, {}, 1, (0, "")),
    ("below nominal", {"cpu": 2, GPU: 5}, {"cpu": 1, GPU: 2}, {}, {"cpu": 10, GPU: 10}, 1, (0, "")),
    ("above nominal", {"cpu": 2, GPU: 5}, {"cpu": 3, GPU: 7}, {}, {"cpu": 10, GPU: 10}, 1, (200, GPU)),
    ("slightly above, large quotas", {GPU: 500}, {GPU: 501}, {}, {GPU: 1500}, 1, (1, GPU)),
    ("large quotas and weights", {GPU: 500}, {GPU: 800}, {}, {GPU: 1500}, 300, (1, GPU)),
    ("one above", {"cpu": 2, GPU: 5}, {"cpu": 3, GPU: 3}, {}, {"cpu": 10, GPU: 10}, 1, (100, "cpu")),
    (
        "above with the workload",
        {"cpu": 2, GPU: 5},
        {"cpu": 1, GPU: 2},
        {"cpu": 4, GPU: 4},
        {"cpu": 10, GPU: 10},
        1,
        (300, "cpu"),
    ),
    (
        "nothing of it to lend",
        {"cpu": 2, GPU: 2},
        {"cpu": 1, GPU: 1},
        {"cpu": 4, GPU: 4},
        {"cpu": 10, GPU: 0},
        1,
        (300, "cpu"),
    ),
    (
        "several flavours",
        {("on-demand", "cpu"): 20, ("spot", "cpu"): 80},
        {("on-demand", "cpu"): 15, ("spot", "cpu"): 5},
        {("on-demand", "cpu"): 10},
        {"cpu": 200},
        1,
        (25, "cpu"),
    ),
    ("weight 2", {GPU: 5}, {GPU: 7}, {}, {GPU: 10}, 2, (100, GPU)),
    ("weight a half", {GPU: 5}, {GPU: 7}, {}, {GPU: 10}, 0.5, (400, GPU)),
    ("weight 0", {GPU: 5}, {GPU: 7}, {}, {GPU: 15}, 0, (math.inf, GPU)),
    ("weight 0, nothing borrowed", {GPU: 5}, {GPU: 5}, {}, {GPU: 15}, 0, (0, "")),
    ("nested cohorts", {GPU: 5}, {GPU: 10}, {}, {GPU: 50}, 1, (100, GPU)),
    ("a cohort of weight 2", {GPU: 5}, {GPU: 10}, {}, {GPU: 50}, 2, (50, GPU)),
    ("all borrowed from the root", {GPU: 0}, {GPU: 10}, {}, {GPU: 50}, 1, (200, GPU)),
    ("a limit on borrowing", {GPU: 0}, {GPU: 10}, {}, {GPU: 10}, 1, (1000, GPU)),
    ("next to nothing of very much", {"cpu": 0}, {"cpu": 1000}, {}, {"cpu": 2**63 - 1}, 1, (1, "cpu")),
]


@pytest.mark.parametrize(
    ("nominal", "usage", "add", "lendable", "weight", "expected"),
    [row[1:] for row in PUBLISHED],
    ids=[row[0] for row in PUBLISHED],
)
def test_published_shares(
    nominal: Any, usage: Any, add: Any, lendable: Any, weight: float, expected: tuple[float, str]
) -> None:
    assert dominant_share(nominal, usage, add, lendable, weight) == expected


def test_of_equal_resources_the_first_by_name() -> None:
    for order in (("b", "a"), ("a", "b")):
        ones = dict.fromkeys(order, 1)
        assert dominant_share({}, ones, {}, ones, 1) == (1000, "a")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, "1"])
@pytest.mark.parametrize("place", range(4))
def test_what_is_no_amount_is_refused_by_name(place: int, wrong: object) -> None:
    amounts: list[Any] = [{"gpu": 1}, {"gpu": 2}, {}, {"gpu": 3}]
    amounts[place] = {"gpu": wrong}
    with pytest.raises(ValueError, match="'gpu' is"):
        dominant_share(*amounts, 1)
    with pytest.raises(ValueError, match="weight is"):
        dominant_share({}, {}, {}, {}, wrong)  # type: ignore[arg-type]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 9))
def test_more_use_is_no_smaller_share_and_more_weight_no_larger_one(
    nominal: int, used: int, more: int, lendable: int, weight: int
) -> None:
    def share(used: int, add: int, weight: int) -> float:
        return dominant_share({"gpu": nominal}, {"gpu": used}, {"gpu": add}, {"gpu": lendable}, weight)[0]

    assert share(used, 0, weight) <= share(used, more, weight) == share(used + more, 0, weight)
    assert share(used, more, weight + 1) <= share(used, more, weight)
    assert (share(used, more, weight) == 0) == (used + more <= nominal)
