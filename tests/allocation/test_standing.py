"""Past usage in the order of shares: KAI's division, the tie of a single unit, and nothing that swings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aios_lab.allocation import Lease, Node, Principal, Resources, Sharing, Snapshot, Usage, divide
from allocation.snapshots import demand, targets_of

UNIT = Resources(cpu=1000)
DAY = 86_400
OFF = Sharing()


def queues(
    threads: int,
    rows: Mapping[str, Mapping[str, float]],
    sharing: Sharing = OFF,
    held: Mapping[str, int] | None = None,
) -> Snapshot:
    """A queue a principal right below the root, with one claim of whole threads; ``usage`` as a part."""
    whole = threads * 1000 * sharing.window
    return Snapshot(
        nodes=(Node("n", UNIT * threads),),
        principals=tuple(
            Principal(
                name,
                weight=int(row.get("weight", 100)),
                quota=UNIT * int(row.get("deserved", 0)),
                limit=UNIT * int(row["limit"]) if "limit" in row else None,
                priority=int(row.get("priority", 0)),
            )
            for name, row in rows.items()
        ),
        demands=tuple(
            demand(name, name, int(row["request"]), principal=name, unit=UNIT, min=0)
            for name, row in rows.items()
        ),
        leases=tuple(Lease(name, "n", units) for name, units in (held or {}).items()),
        usage=tuple(
            Usage(name, Resources(cpu=round(row.get("usage", 0) * whole))) for name, row in rows.items()
        ),
        sharing=sharing,
    )


def by_kai(threads: int, rows: Mapping[str, Mapping[str, float]], k: float) -> dict[str, float]:
    named = {
        name: {"cpu": {"deserved": 0, "weight": 100, **row}, "priority": row.get("priority", 0)}
        for name, row in rows.items()
    }
    return {name: shares["cpu"] for name, shares in divide({"cpu": threads}, named, k=k).items()}


def k_of(k: float) -> Sharing:
    return Sharing(half_life=DAY, k=round(1000 * k))


TABLE = {
    "weights 3 : 1": (12, 0, {"a": {"weight": 300, "request": 12}, "b": {"request": 12}}),
    "a quota first, then equal parts of the rest": (
        10,
        0,
        {"a": {"deserved": 4, "request": 10}, "b": {"request": 10}},
    ),
    "quotas and weights": (
        20,
        0,
        {
            "a": {"deserved": 6, "weight": 300, "request": 20},
            "b": {"deserved": 2, "request": 20},
            "c": {"request": 20},
        },
    ),
    "what one does not want, the others share": (
        12,
        0,
        {"a": {"request": 2}, "b": {"request": 12}, "c": {"request": 12}},
    ),
    "a limit": (12, 0, {"a": {"request": 12, "limit": 2}, "b": {"request": 12}}),
    "priority before weight": (
        10,
        0,
        {"a": {"priority": 1, "request": 7}, "b": {"weight": 900, "request": 10}},
    ),
    "used all of it: the other has all": (8, 1, {"a": {"usage": 1, "request": 8}, "b": {"request": 8}}),
    "used a half: one to two": (12, 1, {"a": {"usage": 0.5, "request": 12}, "b": {"request": 12}}),
    "used a half, counted half": (
        12,
        0.5,
        {"a": {"usage": 0.5, "request": 12}, "b": {"request": 12}},
    ),
    "both used as their weights are": (
        12,
        1,
        {"a": {"usage": 0.75, "weight": 300, "request": 12}, "b": {"usage": 0.25, "request": 12}},
    ),
    "usage counts beyond the quota alone": (
        10,
        1,
        {"a": {"usage": 1, "deserved": 4, "request": 10}, "b": {"request": 10}},
    ),
    "three, one of whom used more than is hers": (
        12,
        1,
        {"a": {"usage": 0.5, "request": 12}, "b": {"request": 12}, "c": {"request": 12}},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_targets_are_those_of_kais_division(case: str) -> None:
    threads, k, rows = TABLE[case]
    assert targets_of(queues(threads, rows, k_of(k))).units == by_kai(threads, rows, k)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=5),
    st.sampled_from([0, 1, 2]),
    st.integers(1, 4),
)
def test_what_divides_without_rest_is_divided_as_kai_does(
    rows: list[tuple[int, int, int]], k: int, times: int
) -> None:
    """Weights, usages in eighths of a weight, quotas; the P divide what is beyond the quotas without rest."""
    weights = sum(weight for weight, _, _ in rows)
    parts = [max(0, 8 * (1 + k) * weight - k * used) for weight, used, _ in rows]
    assume(sum(parts) > 0)
    quotas = sum(quota for _, _, quota in rows)
    threads = quotas + times * sum(parts)
    given_rows = {
        f"q{i}": {"weight": weight, "usage": used / (8 * weights), "deserved": quota, "request": threads}
        for i, (weight, used, quota) in enumerate(rows)
    }
    expected = {
        f"q{i}": quota + times * part for i, ((_, _, quota), part) in enumerate(zip(rows, parts, strict=True))
    }
    assert by_kai(threads, given_rows, k) == pytest.approx(expected)
    assert targets_of(queues(threads, given_rows, k_of(k))).units == expected


def one_thread(used: Mapping[str, float], hysteresis: int = 50, **held: int) -> dict[str, int]:
    """Who is to have a single thread that ada and bob both want; ``used`` as parts of the capacity."""
    rows = {name: {"request": 1, "usage": used.get(name, 0)} for name in ("ada", "bob")}
    sharing = Sharing(half_life=DAY, k=500, hysteresis=hysteresis)
    return dict(targets_of(queues(1, rows, sharing, held)).units)


def test_of_a_single_thread_the_lower_usage_decides() -> None:
    assert one_thread({"ada": 0.3}) == {"ada": 0, "bob": 1}
    assert one_thread({"bob": 0.3}) == {"ada": 1, "bob": 0}


def test_who_holds_it_keeps_it_until_usage_differs_by_more_than_the_hysteresis() -> None:
    assert one_thread({"ada": 0.34, "bob": 0.3}, ada=1) == {"ada": 1, "bob": 0}
    assert one_thread({"ada": 0.36, "bob": 0.3}, ada=1) == {"ada": 0, "bob": 1}
    assert one_thread({"ada": 0.26, "bob": 0.3}, bob=1) == {"ada": 0, "bob": 1}


def test_a_weight_is_a_right_to_use_more() -> None:
    rows = {"ada": {"request": 1, "usage": 0.5, "weight": 300}, "bob": {"request": 1, "usage": 0.2}}
    assert targets_of(queues(1, rows, k_of(0.5))).units == {"ada": 1, "bob": 0}


def test_usage_of_gpus_takes_nothing_from_who_wants_threads() -> None:
    """Resource by resource, as in KAI: all GPUs were ada's, and of the threads both have a half."""
    node = Node("n", Resources(cpu=8000, gpu=4000))
    sharing = k_of(1)
    demands = tuple(demand(name, name, 8, principal=name, unit=UNIT) for name in ("ada", "bob"))
    usage = (Usage("ada", Resources(gpu=4000 * sharing.window)),)
    assert targets_of(Snapshot((node,), (), demands, usage=usage, sharing=sharing)).units == {
        "ada": 4,
        "bob": 4,
    }


@pytest.mark.parametrize("sharing", [Sharing(half_life=DAY), Sharing(k=1000)])
def test_without_k_or_a_half_life_usage_counts_for_nothing(sharing: Sharing) -> None:
    snapshot = queues(4, {"ada": {"request": 4}, "bob": {"request": 4}}, sharing, {"ada": 4})
    usage = (Usage("ada", Resources(cpu=10**12)),)
    assert targets_of(replace(snapshot, usage=usage)).units == {"ada": 2, "bob": 2}
