"""Where there is room for everything, everybody gets it at once and nobody is moved."""

from __future__ import annotations

from dataclasses import replace

from aios_lab.allocation import Change, Lease, Principal, Resources, Snapshot, decide, validate
from allocation.snapshots import THREAD, demand, node

WIDE = Resources(3000, 3072)


def test_room_beside_what_is_held_is_enough_though_it_would_not_be_from_scratch() -> None:
    """From scratch the small claim goes on the first machine by name, and the wide one fits on neither."""
    small, wide = demand("small", "ada", 2), demand("wide", "bob", 1, unit=WIDE, submitted=1)
    snapshot = Snapshot((node(3, "one"), node(2, "two")), (), (small, wide), (Lease("small", "two", 2),))
    plan = decide(snapshot)
    assert plan.grants == (Change("wide", "one", 1),)
    assert not plan.shrinks
    assert not plan.reasons


def test_who_is_under_no_tight_limit_gets_everything_and_the_others_share_theirs() -> None:
    limited = Principal("cluster/class", limit=THREAD * 3)
    pupils = [demand(name, name, 3, principal=f"cluster/class/{name}") for name in ("ada", "bob")]
    snapshot = Snapshot((node(8),), (limited,), (*pupils, demand("cy", "cy", 5)))
    plan = decide(snapshot)
    validate(snapshot, plan)
    assert {change.claim: change.units for change in plan.grants} == {"ada": 2, "bob": 1, "cy": 5}


def test_room_under_a_limit_is_given_only_once_it_is_given_back() -> None:
    """Ada wants less than she holds, so that there is room for both; but not before her workers are gone."""
    limited = Principal("cluster/class", limit=THREAD * 4)
    ada, bob = (demand(name, name, 2, principal=f"cluster/class/{name}") for name in ("ada", "bob"))
    held = Snapshot((node(8),), (limited,), (ada, bob), (Lease("ada", "local", 4),))
    plan = decide(held)
    validate(held, plan)
    assert plan.shrinks == (Change("ada", "local", 2),)
    assert not plan.grants
    after = replace(held, leases=(Lease("ada", "local", 2),))
    assert decide(after).grants == (Change("bob", "local", 2),)
