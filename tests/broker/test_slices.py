"""The states of a slice: which may follow which."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from aios_lab.allocation import Resources
from aios_lab.broker import Owner
from aios_lab.broker.slices import FOLLOWS, Claim, Slice, WrongState
from aios_lab.wire import SliceState as S

CLAIM = Claim(unit=Resources(1000, 1024), min=1, max=4, project="default")
NEW = Slice("s-1", Owner("ada"), CLAIM, created=1.0, since=1.0)


def test_a_life() -> None:
    granted = NEW.grant(2.0, {"a": 1, "b": 1})
    active = granted.settled(3.0)
    shrinking = active.shrink(4.0, {"b": 1})
    smaller = shrinking.settled(5.0)
    growing = smaller.grant(6.0, {"a": 1})
    gone = growing.settled(7.0).shrink(8.0, {"a": 2})
    waiting = gone.settled(9.0)
    lives = [NEW, granted, active, shrinking, smaller, growing, gone, waiting]
    states = [S.REQUESTED, S.GRANTED, S.ACTIVE, S.RESIZING, S.ACTIVE, S.RESIZING, S.DRAINING, S.REQUESTED]
    assert [life.state for life in lives] == states
    assert [life.held for life in lives] == [0, 2, 2, 2, 1, 2, 2, 0]
    assert [life.target for life in lives] == [0, 2, 2, 1, 1, 2, 0, 0]
    assert all(later.epoch > earlier.epoch for earlier, later in pairwise(lives))
    assert (granted.since, active.since) == (2.0, 3.0)


def test_every_step_is_allowed_or_an_error() -> None:
    for state in S:
        for following in S:
            one = Slice("s-1", Owner("ada"), CLAIM, created=1.0, since=1.0, state=state)
            if following in FOLLOWS[state] or following in (state, S.EXPIRED):
                assert one.step(2.0, following).state == following
            else:
                with pytest.raises(WrongState):
                    one.step(2.0, following)


def test_the_end_is_the_end() -> None:
    assert all(not FOLLOWS[state] for state in (S.RELEASED, S.EXPIRED))
    assert NEW.step(2.0, S.RELEASED).ended
    assert not NEW.ended


def test_pins_are_the_floor() -> None:
    assert NEW.floor == 0
    pinned = NEW.step(2.0, pins={"r-1": 2, "r-2": 3})
    assert pinned.floor == 5
    assert pinned.step(3.0, least={"r-2": 1}).floor == 3


def test_a_detached_run_keeps_what_it_uses_also_where_it_can_do_with_less() -> None:
    claim = replace(NEW.claim, min=3, max=4)
    detached = NEW.step(2.0, claim=claim, pins={"r-1": 2, "r-2": 1}, least={"r-1": 0}, detached=("r-1",))
    left = detached.without_owner(3.0, "gone")
    assert (left.claim.min, left.claim.max, left.floor) == (1, 2, 0)
    assert left.unpinned(4.0, ["r-1"]).least == {}
