"""The account of usage: what is held adds up, what is past fades, in whatever steps one looks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import Resources, Sharing
from aios_lab.allocation.usage import Meter, shares_of

DAY = 86_400
SHARING = Sharing(half_life=DAY, k=500, charge=60)
GPU = Resources(cpu=1000, gpu=1000)
ADA, BOB = "cluster/vision/ada", "cluster/vision/bob"


def gpu_of(meter: Meter, name: str, now: float) -> int:
    return next((one.amount.gpu for one in meter.usage([name], now)), 0)


def test_an_hour_of_a_gpu_is_an_hour_of_a_gpu_and_half_of_it_a_day_later() -> None:
    meter = Meter(replace(SHARING, charge=0))
    meter.hold(ADA, GPU, 2, 0.0)
    meter.hold(ADA, GPU, -2, 3600.0)
    used = gpu_of(meter, ADA, 3600.0)
    assert used == pytest.approx(2 * 3600 * 1000, rel=0.02)
    assert gpu_of(meter, ADA, 3600.0 + DAY) == pytest.approx(used / 2, abs=1)
    assert gpu_of(meter, ADA, 3600.0 + 90 * DAY) == 0


def test_projects_add_up_what_their_users_use() -> None:
    meter = Meter(SHARING)
    meter.hold(ADA, GPU, 1, 0.0)
    meter.hold(BOB, GPU, 2, 50.0)
    now = 1000.0
    ada, bob = gpu_of(meter, ADA, now), gpu_of(meter, BOB, now)
    assert gpu_of(meter, "cluster/vision", now) == gpu_of(meter, "cluster", now)
    assert gpu_of(meter, "cluster", now) == pytest.approx(ada + bob, abs=1)


def test_who_always_holds_everything_has_used_everything() -> None:
    meter = Meter(SHARING)
    meter.hold(ADA, GPU, 4, 0.0)
    used = shares_of(meter.usage([ADA], 100.0 * DAY), GPU * 4, SHARING)
    assert used == {ADA: pytest.approx(1, abs=1e-6)}


def test_a_claim_is_charged_as_it_begins() -> None:
    """As much as a minute of it will have come to."""
    meter, other = Meter(SHARING), Meter(SHARING)
    meter.charge(ADA, GPU, 3, 0.0)
    other.hold(BOB, GPU, 3, 0.0)
    assert gpu_of(meter, ADA, 0.0) == gpu_of(other, BOB, 60.0) == pytest.approx(180_000, rel=0.001)
    assert gpu_of(other, BOB, 0.0) == 0


def test_another_half_life_counts_from_now_on() -> None:
    meter = Meter(replace(SHARING, charge=0))
    meter.hold(ADA, GPU, 1, 0.0)
    meter.hold(ADA, GPU, -1, float(DAY))
    before = shares_of(meter.usage([ADA], DAY), GPU, SHARING)[ADA]
    week = replace(SHARING, half_life=7 * DAY)
    meter.adopt(week, float(DAY))
    assert shares_of(meter.usage([ADA], DAY), GPU, week)[ADA] == pytest.approx(before, abs=1e-6)
    later = shares_of(meter.usage([ADA], 8 * DAY), GPU, week)[ADA]
    assert later == pytest.approx(before / 2, abs=1e-6)


def test_without_a_half_life_nothing_is_counted() -> None:
    meter = Meter(Sharing(charge=60))
    meter.hold(ADA, GPU, 1, 0.0)
    meter.charge(ADA, GPU, 1, 0.0)
    assert meter.usage([ADA], 1e6) == ()


def test_a_clock_that_is_set_back_adds_nothing() -> None:
    meter = Meter(SHARING)
    meter.hold(ADA, GPU, 1, 1000.0)
    assert gpu_of(meter, ADA, 0.0) == 0


NAMES = ("cluster", "cluster/vision", ADA, BOB)
stories = st.lists(
    st.tuples(st.sampled_from([ADA, BOB]), st.integers(0, 3), st.floats(0, 3 * DAY)), min_size=1, max_size=8
)


def tell(meter: Meter, story: list[tuple[str, int, float]], looks: int) -> float:
    """Let everybody hold what the story says; look at the balances so many times on the way."""
    now, held = 0.0, {ADA: 0, BOB: 0}
    for who, units, wait in story:
        meter.hold(who, GPU, units - held[who], now)
        held[who] = units
        for look in range(looks):
            meter.hold(who, GPU, 0, now + wait * (look + 1) / (looks + 1))
        now += wait
    for who, units in held.items():
        meter.hold(who, GPU, -units, now)
    return now


@given(stories, st.integers(1, 4))
def test_to_look_on_the_way_changes_nothing(story: list[tuple[str, int, float]], looks: int) -> None:
    """To decay by s and then by t is to decay by s + t."""
    seldom, often = Meter(SHARING), Meter(SHARING)
    end = tell(seldom, story, 0)
    tell(often, story, looks)
    for name in NAMES:
        expected = pytest.approx(gpu_of(seldom, name, end + 5), abs=2, rel=1e-9)
        assert gpu_of(often, name, end + 5) == expected


@given(stories)
def test_what_was_kept_begins_where_it_ended(story: list[tuple[str, int, float]]) -> None:
    meter = Meter(SHARING)
    end = tell(meter, story, 0)
    again = Meter(SHARING, meter.to_keep(end))
    assert again.usage(NAMES, end + DAY) == meter.usage(NAMES, end + DAY)
    meter.kept()
    assert meter.to_keep(end) == []
