"""Usage that halves, and the charge on entry."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation.fairness import decay, decay_factor, entry_charge, recent_usage

WEEK = 168 * 3600.0
FIVE_MINUTES = 300.0

times = st.floats(0, 1e7)
half_lives = st.one_of(st.just(0.0), st.floats(1, 1e7))
usages = st.dictionaries(st.sampled_from(["cpu", "gpu", "memory"]), st.floats(0, 1e6))


def test_usage_halves_in_a_half_life() -> None:
    assert decay({"gpu": 8.0}, 3600, 3600) == {"gpu": 4}
    assert decay({"gpu": 8.0}, 3 * 3600, 3600) == {"gpu": 1}
    assert decay({"gpu": 8.0}, 0, 3600) == {"gpu": 8}


def test_a_half_life_of_nothing_switches_it_off() -> None:
    assert decay({"gpu": 8.0}, 1e9, 0) == {"gpu": 8}
    assert entry_charge({"gpu": 8.0}, 300, 0) == {"gpu": 0}


def test_what_is_held_is_neared_along_the_half_lives() -> None:
    """kubernetes-sigs/kueue pkg/util/admissionfairsharing at ff69552e: 2 CPUs sampled every five minutes."""
    usage: dict[str, float] = {}
    for wanted in (1.0, 1.5, 1.75):
        for _ in range(2016):
            usage = recent_usage(usage, {"cpu": 2}, FIVE_MINUTES, WEEK)
        assert usage["cpu"] == pytest.approx(wanted, abs=1e-3)


def test_a_burst_between_two_samples_is_charged_at_once() -> None:
    """A hundred requests of one GPU weigh as much at once as a hundred GPUs held until the next sample."""
    charged: dict[str, float] = {"gpu": 0}
    for _ in range(100):
        charged["gpu"] += entry_charge({"gpu": 1}, FIVE_MINUTES, WEEK)["gpu"]
    assert charged == pytest.approx(recent_usage({}, {"gpu": 100}, FIVE_MINUTES, WEEK))


@given(usages, times, times, half_lives)
def test_to_decay_twice_is_to_decay_for_both_times(
    usage: dict[str, float], first: float, second: float, half_life: float
) -> None:
    twice = decay(decay(usage, first, half_life), second, half_life)
    assert twice == pytest.approx(decay(usage, first + second, half_life), rel=1e-6, abs=1e-300)
    assert decay(usage, 0, half_life) == usage


@given(usages, usages, times, times, half_lives)
def test_to_sample_twice_is_to_sample_for_both_times(
    usage: dict[str, float], held: dict[str, float], first: float, second: float, half_life: float
) -> None:
    twice = recent_usage(recent_usage(usage, held, first, half_life), held, second, half_life)
    assert twice == pytest.approx(recent_usage(usage, held, first + second, half_life), rel=1e-6, abs=1e-6)


@given(usages, usages, times, half_lives)
def test_recent_usage_stays_between_what_was_and_what_is_held(
    usage: dict[str, float], held: dict[str, float], elapsed: float, half_life: float
) -> None:
    for name, value in recent_usage(usage, held, elapsed, half_life).items():
        ends = sorted((usage.get(name, 0.0), held.get(name, 0.0)))
        assert ends[0] * (1 - 1e-9) <= value <= ends[1] * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_what_is_no_amount_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(ValueError, match="time elapsed is"):
        decay_factor(wrong, 60)
    with pytest.raises(ValueError, match="half-life is"):
        decay_factor(60, wrong)
    with pytest.raises(ValueError, match="usage of 'gpu' is"):
        decay({"gpu": wrong}, 60, 60)
    with pytest.raises(ValueError, match="held of 'gpu' is"):
        entry_charge({"gpu": wrong}, 60, 60)
