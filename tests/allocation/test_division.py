"""KAI Scheduler's division: its own tests' numbers, and what the rule promises for all others."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import divide

Queues = dict[str, dict[str, Any]]


def part(
    deserved: float | None, weight: float, limit: float | None, request: float, usage: float = 0
) -> dict:
    return {"deserved": deserved, "weight": weight, "limit": limit, "request": request, "usage": usage}


# kai-scheduler/KAI-Scheduler pkg/scheduler/plugins/proportion/resource_division/resource_division_test.go
# at d5bc503a (numbers only; Apache-2.0). One resource; a queue is (deserved, weight, limit, request) and
# perhaps a priority; then what each gets and what is left.
ANY = None
PUBLISHED = [
    ("all that was asked for", 2, [(3, 0, ANY, 2)], [2], 0),
    ("some left", 3, [(3, 0, ANY, 2)], [2], 1),
    ("not more than the limit", 3, [(3, 0, 2, 2)], [2], 1),
    ("deserved though there is less", 1, [(3, 0, ANY, 2)], [2], 0),
    ("up to the quota", 7, [(3, 0, ANY, 5)], [3], 4),
    ("a fraction deserved", 2, [(1.5, 0, ANY, 2)], [1.5], 0.5),
    ("a fraction asked for", 2, [(3, 0, ANY, 1.5)], [1.5], 0.5),
    ("nothing deserved", 2, [(0, 0, ANY, 2)], [0], 2),
    ("over quota, all", 5, [(3, 1, ANY, 5)], [5], 0),
    ("over quota, some left", 6, [(3, 1, ANY, 5)], [5], 1),
    ("over quota, limited", 5, [(3, 1, 4, 5)], [4], 1),
    ("over quota, no weight", 5, [(3, 0, ANY, 5)], [3], 2),
    ("over quota, a fraction asked for", 5, [(3, 1, ANY, 4.5)], [4.5], 0.5),
    ("over quota, a fraction there", 3.5, [(3, 1, ANY, 5)], [3.5], 0),
    ("over quota, nothing deserved", 6, [(0, 1, ANY, 5)], [5], 1),
    ("over quota, nothing there", 3, [(3, 1, ANY, 5)], [3], 0),
    ("the other is content, no weight", 16, [(3, 0, ANY, 5), (3, 1, ANY, 3)], [3, 3], 10),
    ("plenty", 15, [(2, 2, ANY, 6)] * 2, [6, 6], 3),
    ("just enough", 12, [(2, 2, ANY, 6)] * 2, [6, 6], 0),
    ("by weight", 8, [(2, 1, ANY, 6), (2, 3, ANY, 6)], [3, 5], 0),
    ("one is limited", 12, [(2, 2, 5, 6), (2, 2, ANY, 6)], [5, 6], 1),
    ("largest remainder", 11, [(2, 1, ANY, 10), (2, 4, ANY, 10)], [3, 8], 0),
    ("equal remainders", 11, [(2, 2, ANY, 6)] * 2, [6, 5], 0),
    ("deserved whatever the priority", 4, [(2, 2, ANY, 6, 1), (2, 2, ANY, 6, 2)], [2, 2], 0),
    ("priority first", 6, [(2, 2, ANY, 6, 1), (2, 2, ANY, 6, 2)], [2, 4], 0),
    ("priority before weight", 6, [(2, 100, ANY, 6, 1), (2, 1, ANY, 6, 2)], [2, 4], 0),
    ("remainder by priority", 5, [(2, 2, ANY, 5, 2), (2, 2, ANY, 5, 2), (1, 2, ANY, 0, 1)], [3, 2, 0], 0),
    ("fewer asked for than there are", 3000, [(3000, 3000, ANY, 2000)], [2000], 1000),
    ("fewer there than asked for", 1000, [(3000, 3000, ANY, 2000)], [2000], 0),
    ("no weight, no quota", 10000, [(5000, 5000, ANY, 10000), (0, 0, ANY, 5000)], [10000, 0], 0),
    ("quotas beyond the whole", 10000, [(5000, 5000, ANY, 5000)] * 3, [5000] * 3, 0),
    ("a thousand more each", 18000, [(5000, 5000, ANY, 6000)] * 3, [6000] * 3, 0),
    ("two ask for less", 10000, [(5000, 5000, ANY, r) for r in (7000, 2000, 2000)], [6000, 2000, 2000], 0),
    ("one asks for less", 10000, [(5000, 5000, ANY, r) for r in (7000, 5000, 2000)], [5000, 5000, 2000], 0),
    ("weight, nothing left", 10000, [(q, 5000, ANY, 5000) for q in (5000, 0, 5000)], [5000, 0, 5000], 0),
    ("weights 1 to 2", 1000, [(250, 1, ANY, 5000), (150, 2, ANY, 5000)], [450, 550], 0),
    ("weights 1 to 2, limited", 1000, [(250, 1, ANY, 5000), (150, 2, 400, 5000)], [600, 400], 0),
    ("three alike", 9999, [(1000, 1, ANY, 10000)] * 3, [3333] * 3, 0),
    ("weights 6, 2, 1", 9999, [(0, w, ANY, 10000) for w in (6, 2, 1)], [6666, 2222, 1111], 0),
    (
        "fractions",
        45,
        [(12, 12, ANY, 32.54999999999996), (7, 7, ANY, 9.5), (2, 2, 2, 1.65)],
        [32.54999999999996, 9.5, 1.65],
        1.3000000000000398,
    ),
    ("the last one to the first name", 5, [(2, 2, ANY, 3)] * 2, [3, 2], 0),
]


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize(
    ("total", "rows", "expected", "left"), [row[1:] for row in PUBLISHED], ids=[row[0] for row in PUBLISHED]
)
def test_published_divisions(
    total: float, rows: list[Any], expected: list[float], left: float, k: float
) -> None:
    queues = {str(n): {"gpu": part(*row[:4]), "priority": (*row, 0)[4]} for n, row in enumerate(rows, 1)}
    shares = divide({"gpu": total}, queues, k=k)
    assert [shares[name]["gpu"] for name in queues] == expected
    assert max(0.0, total - sum(expected)) == pytest.approx(left)


def test_resources_are_divided_one_by_one() -> None:
    """ "Not enough resources" and "Request more than total", from the same source."""
    one = {
        "1": {"gpu": part(2, 1, ANY, 3), "cpu": part(20000, 1, ANY, 2500), "memory": part(1000, 1, ANY, 5000)}
    }
    shares = divide({"gpu": 1, "cpu": 1000, "memory": 3000}, one)
    assert shares == {"1": {"gpu": 2, "cpu": 2500, "memory": 3000}}
    same = {"gpu": part(1, 1, ANY, 8), "cpu": part(2000, 1, ANY, 3000), "memory": part(1000, 1, ANY, 5000)}
    shares = divide({"memory": 1000, "gpu": 10, "cpu": 3000}, {"1": same, "2": same})
    assert shares["1"] == shares["2"] == {"gpu": 5, "cpu": 2000, "memory": 1000}


def test_minus_one_is_unlimited_as_none_is() -> None:
    for unlimited in (None, -1):
        queues = {"a": {"gpu": part(unlimited, 1, unlimited, 20)}, "b": {"gpu": part(0, 1, unlimited, 5)}}
        assert divide({"gpu": 8}, queues) == {"a": {"gpu": 8}, "b": {"gpu": 0}}


def test_a_queue_that_used_much_is_offered_less() -> None:
    """P = W + k (W − U): with k = 1, a of weight ½ that used ¼ has ¾, b of weight ½ that used ¾ has ¼."""
    queues = {"a": {"gpu": part(0, 1, ANY, 100, 0.25)}, "b": {"gpu": part(0, 1, ANY, 100, 0.75)}}
    assert divide({"gpu": 12}, queues, k=0) == {"a": {"gpu": 6}, "b": {"gpu": 6}}
    assert divide({"gpu": 12}, queues, k=1) == {"a": {"gpu": 9}, "b": {"gpu": 3}}
    assert divide({"gpu": 12}, queues, k=2) == {"a": {"gpu": 12}, "b": {"gpu": 0}}


def test_who_was_created_first_gets_the_odd_unit() -> None:
    queues = {
        "a": {"gpu": part(0, 1, ANY, 9), "created": 2},
        "b": {"gpu": part(0, 1, ANY, 9), "created": 1},
    }
    assert divide({"gpu": 5}, queues) == {"a": {"gpu": 2}, "b": {"gpu": 3}}


def test_the_odd_unit_is_whole_even_for_part_of_one() -> None:
    """As KAI does it: half a unit is offered, and rounding that down and up again makes one."""
    queues = {name: {"gpu": part(0, 1, ANY, 0.9)} for name in "ab"}
    assert divide({"gpu": 1}, queues) == {"a": {"gpu": 1}, "b": {"gpu": 0}}


def test_nothing_to_divide() -> None:
    assert divide({}, {}) == {}
    assert divide({"gpu": 4}, {}) == {}
    assert divide({"gpu": 0}, {"a": {"gpu": part(0, 1, ANY, 3)}}) == {"a": {"gpu": 0}}
    assert divide({}, {"a": {"gpu": part(2, 1, ANY, 3)}}) == {"a": {"gpu": 2}}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -2, "3", None])
@pytest.mark.parametrize("field", ["deserved", "weight", "limit", "request", "usage"])
def test_what_is_no_amount_is_refused_by_name(field: str, wrong: object) -> None:
    if wrong is None and field in ("deserved", "limit"):
        return
    queue = {"gpu": part(1, 1, ANY, 3) | {field: wrong}}
    with pytest.raises(ValueError, match=f"queue 'lab', 'gpu': {field} is"):
        divide({"gpu": 4}, {"lab": queue})


def test_what_is_wrong_elsewhere_is_named() -> None:
    good = {"gpu": part(1, 1, ANY, 3)}
    with pytest.raises(ValueError, match="total of 'gpu' is nan"):
        divide({"gpu": math.nan}, {"lab": good})
    with pytest.raises(ValueError, match="k is -1"):
        divide({"gpu": 1}, {"lab": good}, k=-1)
    with pytest.raises(ValueError, match="queue 'lab', 'gpu' lacks deserved and request"):
        divide({"gpu": 1}, {"lab": {"gpu": {"weight": 1}}})
    with pytest.raises(ValueError, match="queue 'lab', 'gpu' is 3"):
        divide({"gpu": 1}, {"lab": {"gpu": 3}})
    with pytest.raises(ValueError, match="queue 'lab': priority is 'high'"):
        divide({"gpu": 1}, {"lab": {**good, "priority": "high"}})


WEIGHTS = st.sampled_from([0, 0.5, 1, 2, 3])


@st.composite
def queue_sets(draw: st.DrawFn, weights: st.SearchStrategy[float] = WEIGHTS) -> Queues:
    amounts = st.integers(0, 30)
    return {
        f"q{n}": {
            "gpu": part(
                draw(st.one_of(st.integers(0, 8), st.none())),
                draw(weights),
                draw(st.one_of(amounts, st.none())),
                draw(amounts),
                draw(st.sampled_from([0, 0, 0.1, 0.5, 1])),
            ),
            "priority": draw(st.integers(0, 2)),
            "created": draw(st.integers(0, 2)),
        }
        for n in range(draw(st.integers(1, 6)))
    }


def wanted(queue: dict[str, Any]) -> float:
    gpu = queue["gpu"]
    return gpu["request"] if gpu["limit"] is None else min(gpu["request"], gpu["limit"])


def guaranteed(queue: dict[str, Any], total: float) -> float:
    deserved = queue["gpu"]["deserved"]
    return min(wanted(queue), total if deserved is None else deserved)


def given_out(total: float, queues: Queues, k: float) -> float:
    return sum(share["gpu"] for share in divide({"gpu": total}, queues, k=k).values())


TOTALS = st.integers(0, 100)
KS = st.sampled_from([0, 0.5, 1, 2])


@given(queue_sets(), TOTALS, KS)
def test_everybody_has_the_guarantee_and_nobody_too_much(queues: Queues, total: int, k: float) -> None:
    shares = divide({"gpu": total}, queues, k=k)
    for name, queue in queues.items():
        assert guaranteed(queue, total) <= shares[name]["gpu"] <= wanted(queue) + 1e-9


@given(queue_sets(), TOTALS, KS)
def test_no_more_goes_out_than_there_is_or_is_deserved(queues: Queues, total: int, k: float) -> None:
    promised = sum(guaranteed(queue, total) for queue in queues.values())
    assert given_out(total, queues, k) <= max(total, promised) + 1e-9


@given(queue_sets(weights=st.sampled_from([0.5, 1, 2, 3])), TOTALS)
def test_nothing_is_left_that_somebody_wants(queues: Queues, total: int) -> None:
    promised = sum(guaranteed(queue, total) for queue in queues.values())
    asked = sum(wanted(queue) for queue in queues.values())
    assert given_out(total, queues, 0) == pytest.approx(max(promised, min(total, asked)))


@given(queue_sets(), TOTALS, st.integers(0, 20), KS)
def test_with_more_to_divide_no_less_goes_out(queues: Queues, total: int, more: int, k: float) -> None:
    assert given_out(total, queues, k) <= given_out(total + more, queues, k) + 1e-9


@given(queue_sets(), TOTALS, KS, st.randoms(use_true_random=False))
def test_the_order_of_the_queues_does_not_matter(
    queues: Queues, total: int, k: float, random: Random
) -> None:
    shuffled = dict(random.sample(list(queues.items()), len(queues)))
    assert divide({"gpu": total}, shuffled, k=k) == divide({"gpu": total}, queues, k=k)


@given(queue_sets(), TOTALS, KS)
def test_a_higher_priority_has_all_it_wants_before_a_lower_one_gets_two_units(
    queues: Queues, total: int, k: float
) -> None:
    """Rounding may leave a unit for each queue to those below; nothing else may pass a queue that waits."""
    shares = divide({"gpu": total}, queues, k=k)
    for name, queue in queues.items():
        can_wait = queue["gpu"]["weight"] > 0 and queue["gpu"]["usage"] == 0
        if not can_wait or shares[name]["gpu"] >= wanted(queue):
            continue
        below = [other for other in queues if queues[other]["priority"] < queue["priority"]]
        beyond = sum(shares[other]["gpu"] - guaranteed(queues[other], total) for other in below)
        assert beyond <= len(queues)
