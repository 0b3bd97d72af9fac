"""M/M/1 and M/M/c: standard values, exact sums, Little's law, many servers, overload."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation.queueing import erlang_b, erlang_c, mm1, mmc

# By the standard recursion: servers, load, B, C, and the mean wait in service times.
ERLANG = [
    (1, 0.5, 0.3333333333333333, 0.5, 1.0),
    (2, 1.5, 0.31034482758620685, 0.6428571428571428, 1.2857142857142856),
    (3, 2, 0.2105263157894737, 0.4444444444444445, 0.4444444444444445),
    (4, 3, 0.20610687022900764, 0.5094339622641509, 0.5094339622641509),
    (5, 4, 0.19906687402799378, 0.5541125541125543, 0.5541125541125543),
    (8, 6, 0.12187578366630444, 0.35698108587868027, 0.17849054293934014),
    (10, 8, 0.1216610642529515, 0.40918015079644354, 0.20459007539822177),
    (10, 9, 0.16796322629158647, 0.6687315241076972, 0.6687315241076972),
    (64, 56, 0.033125686278953966, 0.21512284671062906, 0.026890355838828633),
]


@pytest.mark.parametrize(("c", "a", "B", "C", "wait"), ERLANG)
def test_standard_values(c: int, a: float, B: float, C: float, wait: float) -> None:
    queue = mmc(a, 1, c)
    assert (queue.a, queue.c, queue.rho) == (a, c, pytest.approx(a / c))
    assert (queue.B, queue.C, queue.W_q) == pytest.approx((B, C, wait))
    slow = mmc(a / 60, 1 / 60, c)
    assert slow.W_q / 60 == pytest.approx(wait)


@given(st.integers(1, 25), st.fractions(0, 1, max_denominator=1000).filter(lambda part: part < 1))
def test_against_the_sum_over_all_states(servers: int, rho: Fraction) -> None:
    """Exact fractions: a^n / n! for all servers, then a geometric tail."""
    load = rho * servers
    states = [load**n / math.factorial(n) for n in range(servers)]
    all_busy = load**servers / math.factorial(servers)
    tail = all_busy / (1 - rho)
    whole = sum(states) + tail
    queue = mmc(float(load), 1.0, servers)
    assert pytest.approx(float(all_busy / (sum(states) + all_busy)), rel=1e-9) == queue.B
    assert pytest.approx(float(tail / whole), rel=1e-9) == queue.C
    assert queue.L_q == pytest.approx(float(tail * rho / (1 - rho) / whole), rel=1e-9)
    assert queue.P_n(0) == pytest.approx(float(1 / whole), rel=1e-9)
    for n, state in enumerate(states):
        assert queue.P_n(n) == pytest.approx(float(state / whole), rel=1e-9)
    assert queue.P_n(servers + 3) == pytest.approx(float(all_busy * rho**3 / whole), rel=1e-9)


rates = st.floats(0.01, 100)


@given(rates, rates, st.integers(1, 200))
def test_littles_law_and_what_follows(arrivals: float, service: float, servers: int) -> None:
    queue = mmc(arrivals, service, servers)
    if not queue.stable:
        assert (queue.L, queue.L_q, queue.W, queue.W_q, queue.C) == (math.inf,) * 4 + (1,)
        return
    assert pytest.approx(arrivals * queue.W) == queue.L
    assert queue.L_q == pytest.approx(arrivals * queue.W_q)
    assert pytest.approx(queue.W_q + 1 / service) == queue.W
    assert pytest.approx(queue.L_q + queue.a) == queue.L
    assert 0 <= queue.B <= queue.C <= 1


@given(rates, rates)
def test_one_server_by_the_closed_form(arrivals: float, service: float) -> None:
    queue, rho = mm1(arrivals, service), arrivals / service
    assert queue == mmc(arrivals, service, 1)
    if rho < 0.999:
        assert pytest.approx(rho / (1 - rho)) == queue.L
        assert pytest.approx(1 / (service - arrivals)) == queue.W
        assert queue.W_q == pytest.approx(rho / (service - arrivals))
        assert [queue.P_n(n) for n in range(5)] == pytest.approx([(1 - rho) * rho**n for n in range(5)])


@given(rates, st.integers(1, 50))
def test_one_more_server_is_no_longer_wait(arrivals: float, servers: int) -> None:
    assert mmc(arrivals, 1, servers + 1).W_q <= mmc(arrivals, 1, servers).W_q


@pytest.mark.parametrize(("servers", "load"), [(1000, 950), (5000, 4990), (20_000, 19_900), (5000, 10)])
def test_thousands_of_servers(servers: int, load: float) -> None:
    """Where factorials and P_0 leave the range of floats, the states still add up to the whole and to L."""
    queue = mmc(load, 1, servers)
    end = servers + 40 * servers // max(1, servers - int(load))
    middle = range(max(0, int(load - 60 * math.sqrt(load))), end)
    states = [queue.P_n(n) for n in middle]
    assert sum(states) == pytest.approx(1, rel=1e-9)
    assert sum(n * p for n, p in zip(middle, states, strict=True)) == pytest.approx(queue.L, rel=1e-9)
    assert sum(p for n, p in zip(middle, states, strict=True) if n >= servers) == pytest.approx(
        queue.C, rel=1e-9
    )


def test_nobody_comes() -> None:
    queue = mmc(0, 2, 3)
    assert (queue.L, queue.L_q, queue.W_q, queue.C, queue.B) == (0, 0, 0, 0, 0)
    assert queue.W == 0.5
    assert [queue.P_n(n) for n in range(3)] == [1, 0, 0]


def test_a_queue_that_cannot_keep_up() -> None:
    for arrivals in (3, 4):
        queue = mmc(arrivals, 1, 3)
        assert (queue.stable, queue.L, queue.L_q, queue.W, queue.W_q) == (False, *[math.inf] * 4)
        assert queue.C == 1
        assert queue.P_n(0) == queue.P_n(100) == 0
        assert queue.B == erlang_b(3, arrivals) < 1
        assert queue.wait_quantile(0.5) == math.inf


@given(st.floats(0.01, 100), st.integers(1, 60), st.sampled_from([-2, -1, 0, 1, 2]))
def test_at_the_very_edge_the_answer_is_one_or_the_other(service: float, servers: int, ulps: int) -> None:
    arrivals = service * servers
    for _ in range(abs(ulps)):
        arrivals = math.nextafter(arrivals, math.copysign(math.inf, ulps))
    queue = mmc(arrivals, service, servers)
    assert queue.stable == math.isfinite(queue.L_q) == math.isfinite(queue.W_q)
    assert 0 <= queue.P_n(servers) < 1e-6
    assert pytest.approx(1) == queue.C


def test_quantiles_of_the_wait() -> None:
    """M/M/1 at ρ = ½: half need not wait; P(wait > t) = ½ e^(−t/2) for service times of 1."""
    queue = mm1(0.5, 1)
    assert queue.wait_quantile(0) == queue.wait_quantile(0.5) == 0
    assert queue.wait_quantile(0.9) == pytest.approx(2 * math.log(5))
    with pytest.raises(ValueError, match="part is 1"):
        queue.wait_quantile(1)


@given(st.integers(1, 30), st.floats(0.05, 0.95))
def test_the_quantiles_add_up_to_the_mean_wait(servers: int, rho: float) -> None:
    queue = mmc(rho * servers, 1, servers)
    steps = 4000
    mean = sum(queue.wait_quantile((n + 0.5) / steps) for n in range(steps)) / steps
    assert mean == pytest.approx(queue.W_q, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, "1"])
def test_what_is_no_rate_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(ValueError, match="arrival rate is"):
        mmc(wrong, 1, 1)
    with pytest.raises(ValueError, match="service rate is"):
        mmc(1, wrong, 1)
    with pytest.raises(ValueError, match="load is"):
        erlang_c(1, wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_servers_are_whole(wrong: int) -> None:
    with pytest.raises(ValueError, match=r"servers is .*: give a whole number of at least 1"):
        mmc(1, 1, wrong)


def test_a_server_that_serves_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="service rate is 0"):
        mmc(1, 0, 1)
    with pytest.raises(ValueError, match="n is -1"):
        mm1(1, 2).P_n(-1)
