"""Told only what changed, a decider makes the plans that ``decide`` makes of whole snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from aios_lab.allocation import (
    POLICIES,
    Demand,
    Node,
    Placement,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    decide,
    validate,
)
from aios_lab.allocation.placement import RULES
from aios_lab.allocation.scheduler import scheduler
from aios_lab.allocation.simulation import Job, play
from allocation.snapshots import PATHS, carry_out, holdings, node, some_amounts, unit_vectors

NODES = (node(4, "n0", gpus=2), node(3, "n1"), node(2, "n2", gpus=1))


@st.composite
def principals(draw: st.DrawFn) -> tuple[Principal, ...]:
    paths = draw(st.lists(st.sampled_from([*PATHS, "cluster/vision"]), unique=True, max_size=3))
    return tuple(
        Principal(
            path,
            weight=draw(st.sampled_from([100, 200])),
            quota=replace(draw(some_amounts), gpu_memory=0) if draw(st.booleans()) else Resources(),
            limit=draw(some_amounts) if draw(st.integers(0, 2)) == 0 else None,
        )
        for path in paths
    )


@st.composite
def demands(draw: st.DrawFn, number: int, now: float, kind: str) -> Demand:
    least = draw(st.integers(1, 4))
    return Demand(
        f"s-{number:03d}",
        draw(st.sampled_from(PATHS)),
        draw(unit_vectors),
        least,
        least if kind == "rigid" else least + draw(st.integers(0, 3)),
        priority=draw(st.sampled_from([0, 1])) if kind == "any" else 0,
        preemptible=kind == "any" and draw(st.booleans()),
        submitted=now,
        duration=draw(st.sampled_from([None, 0.0, 1.0, 3.0, 8.0])),
    )


@given(
    st.data(),
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from(["rigid", "growing", "any"]),
    principals(),
    st.sampled_from(sorted(RULES)),
)
def test_what_is_told_bit_by_bit_is_decided_like_the_whole(
    data: st.DataObject, policy: str, kind: str, tree: tuple[Principal, ...], rule: str
) -> None:
    """Claims come, wait, run longer or shorter than they said, and go; after each step both decide."""
    placement = Placement(rule, ((Resources(1000, gpu=500), 3), (Resources(1000, gpu=1000), 1)))
    told = scheduler(policy, NODES, tree, placement, Sharing())
    whole = Snapshot(NODES, tree, (), placement=placement)
    granted = 0
    for step in range(data.draw(st.integers(1, 14))):
        now = whole.now + data.draw(st.sampled_from([0.0, 0.5, 1.0, 4.0]))
        gone = data.draw(st.sets(st.sampled_from([d.claim for d in whole.demands] or [""]), max_size=2))
        for claim in sorted(gone - {""}):
            told.leave(claim, now)
        came = [data.draw(demands(10 * step + n, now, kind)) for n in range(data.draw(st.integers(0, 3)))]
        for demand in came:
            told.arrive(demand)
        whole = Snapshot(
            NODES,
            tree,
            (*(d for d in whole.demands if d.claim not in gone), *came),
            tuple(lease for lease in whole.leases if lease.claim not in gone),
            now,
            placement,
        )
        plan, expected = told.decide(now), decide(whole, policy)
        validate(whole, expected)
        assert (plan.grants, plan.shrinks) == (expected.grants, expected.shrinks)
        granted += len(plan.grants)
        held = carry_out(whole, expected)
        begun = {claim for claim, units in holdings(held).items() if units}
        whole = replace(
            held,
            demands=tuple(
                replace(d, started=now) if d.claim in begun and d.started is None else d
                for d in whole.demands
            ),
        )
        if kind == "rigid" and told.settles:
            # A simulation of such jobs decides once at a moment.
            rest = decide(whole, policy)
            assert not rest.grants
            assert not rest.shrinks
    event(f"{kind}: {min(granted, 5)} grants")


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_jobs_of_no_length_take_room_all_the_same(policy: str) -> None:
    """Four at once on one thread: they start one after the other, and never together with a longer one."""
    jobs = [Job(n, 0.0, run, Resources(cpu=1000)) for n, run in enumerate((0.0, 0.0, 5.0, 0.0))]
    outcome = play(jobs, [Node("n0", Resources(cpu=1000))], policy)
    spans = sorted((one.start, one.end) for one in outcome.finished)
    assert len(spans) == 4
    assert all(start in (0.0, 5.0) for start, _ in spans)
