"""Fair share over time: who wants the same for days takes turns, seldom; bursts gain nothing; Fair Tree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aios_lab.allocation import (
    DEFAULT_SHARING,
    Demand,
    Node,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    Usage,
    decide,
    fair_tree,
    validate,
)
from aios_lab.allocation.simulation import Job, play
from aios_lab.allocation.usage import Meter
from allocation.snapshots import carry_out, demand, holdings, targets_of

HOUR, DAY = 3600.0, 86_400.0
THREAD = Resources(cpu=1000)


def contend(
    threads: int,
    most: int,
    days: float,
    sharing: Sharing,
    tick: float = 300.0,
    weights: tuple[int, int] = (1, 1),
) -> tuple[list[float], Mapping[str, float]]:
    """Two who both want it all, all the time. When units changed hands, and who held how many on average."""
    claims = [
        demand(name, name, most, unit=THREAD, submitted=float(n)) for n, name in enumerate(("ada", "bob"))
    ]
    principals = tuple(
        Principal(one.principal, weight=100 * weight) for one, weight in zip(claims, weights, strict=True)
    )
    snapshot = Snapshot((Node("n", THREAD * threads),), principals, tuple(claims), sharing=sharing)
    meter, changes, sums, steps = (
        Meter(sharing),
        [],
        dict.fromkeys(("ada", "bob"), 0.0),
        round(days * DAY / tick),
    )
    for step in range(steps):
        now = step * tick
        for _ in range(4):
            usage = meter.usage({one.principal for one in claims}, now)
            snapshot = replace(snapshot, now=now, usage=usage)
            plan = decide(snapshot)
            validate(snapshot, plan)
            if not plan.grants and not plan.shrinks:
                break
            if plan.shrinks:
                changes.append(now)
            before, snapshot = holdings(snapshot), carry_out(snapshot, plan)
            after = holdings(snapshot)
            snapshot = replace(
                snapshot, demands=tuple(_begun(d, before, after, now) for d in snapshot.demands)
            )
            for one in claims:
                meter.hold(one.principal, THREAD, after[one.claim] - before[one.claim], now)
                if after[one.claim] and not before[one.claim]:
                    meter.charge(one.principal, THREAD, after[one.claim], now)
        else:
            raise AssertionError(f"no rest at {now}: {snapshot}")
        for name, units in holdings(snapshot).items():
            sums[name] += units / steps
    return changes, sums


def _begun(one: Demand, before: Mapping[str, int], after: Mapping[str, int], now: float) -> Demand:
    if not after[one.claim]:
        return replace(one, started=None)
    return replace(one, started=one.started if before[one.claim] else now)


def shortest(sharing: Sharing) -> float:
    """Seconds that it takes at least until two usages have moved by twice the hysteresis against each other:
    their difference d moves at most by (1 + d) ln 2 / half-life."""
    part = sharing.hysteresis / 1000
    return 2 * part / (1 + part) * sharing.half_life / math.log(2)


def test_two_who_want_one_thread_for_two_weeks_take_turns_of_hours() -> None:
    changes, held = contend(1, 1, 14, DEFAULT_SHARING)
    turns = [later - earlier for earlier, later in pairwise(changes[1:])]
    assert min(turns) >= shortest(DEFAULT_SHARING) - 300
    assert max(turns) <= 8 * HOUR
    assert held["ada"] == pytest.approx(0.5, abs=0.02)


def test_who_weighs_twice_as_much_has_it_twice_as_long() -> None:
    _, held = contend(1, 1, 28, DEFAULT_SHARING, weights=(2, 1))
    assert held == pytest.approx({"ada": 2 / 3, "bob": 1 / 3}, abs=0.03)


def test_an_odd_thread_changes_hands_as_seldom() -> None:
    changes, held = contend(9, 9, 14, DEFAULT_SHARING)
    assert len(changes) <= 14 * DAY / shortest(DEFAULT_SHARING)
    assert held["ada"] == pytest.approx(4.5, abs=0.2)


def test_without_hysteresis_the_guard_alone_keeps_turns_apart() -> None:
    """No cycle of preempting and granting, even where usages cross all the time."""
    sharing = replace(DEFAULT_SHARING, hysteresis=0, guard=1800)
    changes, _ = contend(1, 1, 2, sharing)
    assert len(changes) > 10
    assert min(later - earlier for earlier, later in pairwise(changes)) >= 1800


def test_without_k_nothing_moves_by_itself() -> None:
    changes, _ = contend(3, 3, 7, replace(DEFAULT_SHARING, k=0))
    assert changes == []


def crowd(sharing: Sharing, honest_used: int) -> dict[str, int]:
    """A gamer and an honest user each ask for all of eight threads, by eight claims; the gamer asks first."""
    claims = [
        demand(f"{who}{n}", who, 1, unit=THREAD, submitted=float(when))
        for when, who in enumerate(("gamer", "honest"))
        for n in range(8)
    ]
    usage = (Usage("cluster/default/honest", THREAD * honest_used),)
    units = targets_of(
        Snapshot((Node("n", THREAD * 8),), (), tuple(claims), usage=usage, sharing=sharing)
    ).units
    return {who: sum(n for claim, n in units.items() if claim.startswith(who)) for who in ("gamer", "honest")}


def test_a_burst_of_one_moment_is_charged_as_it_is_granted() -> None:
    """Fair Tree serves the lowest usage first: uncharged, eight claims at once are all judged by what was."""
    by_usage = Sharing("fair_tree", half_life=round(DAY))
    assert crowd(by_usage, honest_used=100) == {"gamer": 8, "honest": 0}
    assert crowd(replace(by_usage, charge=60), honest_used=100) == {"gamer": 5, "honest": 3}


@pytest.mark.parametrize("order", ["share", "fair_tree"])
def test_bursts_of_short_claims_gain_nothing(order: str) -> None:
    """The gamer asks for six threads every half minute, for 20 s each; the honest user for 5 minutes each."""
    sharing = replace(DEFAULT_SHARING, order=order)
    gamer = [Job(n, 30.0 * (n // 6), 20, THREAD, user="gamer") for n in range(360)]
    honest = [Job(1000 + n, 0.0, 300, THREAD, user="honest") for n in range(24)]
    jobs = sorted((*gamer, *honest), key=lambda job: job.submit)
    end = 1800.0
    held = dict.fromkeys(("gamer", "honest"), 0.0)
    for one in play(jobs, [Node("n", THREAD * 4)], sharing=sharing).finished:
        held[one.user] += max(0.0, min(one.end, end) - min(one.start, end))
    assert held["gamer"] <= held["honest"]
    assert sum(held.values()) == pytest.approx(4 * end, rel=0.01)


parts = st.integers(0, 6)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.tuples(st.integers(1, 3), parts), min_size=1, max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_claims_start_in_the_order_of_slurms_fair_tree(
    accounts: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    by_weight = [sum(used for _, used in users) / weight for weight, users in accounts]
    assume(len(set(by_weight)) == len(by_weight))  # accounts that tie take turns, where Slurm merges them
    shares: dict[str, dict[str, object]] = {}
    principals, usage, claims = [], [], []
    for a, (weight, users) in enumerate(accounts):
        shares[f"p{a}"] = {"parent": "root", "shares": weight}
        principals.append(Principal(f"p{a}", weight=weight))
        usage.append(Usage(f"p{a}", THREAD * sum(used for _, used in users)))
        for u, (share, used) in enumerate(users):
            path = f"p{a}/u{u}"
            shares[path] = {"parent": f"p{a}", "shares": share}
            principals.append(Principal(path, weight=share))
            usage.append(Usage(path, THREAD * used))
            claims.append(demand(path, path, 1, principal=path, unit=THREAD))
    used_by = {
        f"p{a}/u{u}": used for a, (_, users) in enumerate(accounts) for u, (_, used) in enumerate(users)
    }
    factors = fair_tree(shares, used_by)
    sharing = Sharing("fair_tree", half_life=round(DAY))
    assume(len(claims) > 1)
    room = THREAD * (len(claims) - 1)  # with room for all there is nothing to order
    snapshot = Snapshot(
        (Node("n", room),), tuple(principals), tuple(claims), usage=tuple(usage), sharing=sharing
    )
    served = [factors[claim] for claim, _, _ in targets_of(snapshot).awards]
    last = [factors[claim] for claim, units in targets_of(snapshot).units.items() if not units]
    assert served + last == sorted(factors.values(), reverse=True)
