"""Forecasts: little clusters whose future can be counted out, and what must hold for any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_lab.allocation import (
    POLICIES,
    Lease,
    Past,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    decide,
    forecast,
)
from aios_lab.allocation.decide import policy_of
from aios_lab.allocation.forecast import quantile
from aios_lab.allocation.history import Holdings, Lifetimes
from aios_lab.allocation.placement.rooms import FIRST
from aios_lab.allocation.replay import Arrival, Replay
from aios_lab.allocation.simulation import FinishedJob, Job, play
from aios_lab.allocation.types import DEFAULT_SHARING
from aios_lab.allocation.usage import Meter
from allocation.snapshots import THREAD, demand, node, snapshots

NOW = 10_000.0
RIGID = {"preemptible": False}


def held_by(*ends: float | None, waiting: int = 1, **options: object) -> Snapshot:
    """One thread each for as many as there are durations, all begun 100 s ago, and others who wait."""
    holders = [
        demand(f"h{i}", f"holder{i}", 1, started=NOW - 100, duration=end, submitted=i, **RIGID)
        for i, end in enumerate(ends)
    ]
    queue = [demand(f"w{i}", f"waiter{i}", 1, submitted=100 + i, **options) for i in range(waiting)]
    leases = tuple(Lease(one.claim, "local", 1) for one in holders)
    return Snapshot((node(len(ends)),), (), (*holders, *queue), leases, now=NOW)


def times(told: object) -> tuple[float, float, float]:
    return told.low, told.median, told.high  # type: ignore[attr-defined]


def test_what_owners_state_is_believed_while_nothing_contradicts_it() -> None:
    told = forecast(held_by(400.0, 900.0), "w0", "fcfs")
    assert (told.state, *times(told)) == ("expected", 300.0, 300.0, 300.0)
    assert "what the owners of 2 claims stated" in told.basis


def test_those_ahead_go_first() -> None:
    snapshot = held_by(400.0, 900.0, waiting=2, duration=50.0)
    assert forecast(snapshot, "w0", "fcfs").median == 300
    assert forecast(snapshot, "w1", "fcfs").median == 350  # when the first is through


def test_history_corrects_what_owners_state() -> None:
    """Who used half of what he asked for, twenty times, is expected to do so again."""
    past = [Past("cluster/default/holder0", THREAD, 1, 1, i, i, i + 200.0, duration=400.0) for i in range(20)]
    told = forecast(held_by(400.0), "w0", "fcfs", past=past)
    assert told.median == pytest.approx(100, abs=1)
    assert 0 < told.low <= told.median <= told.high


def test_past_lengths_are_those_of_claims_that_lasted_as_long() -> None:
    past = [Past(f"cluster/default/u{i}", THREAD, 1, 1, i, i, i + 10.0 * (i + 1)) for i in range(50)]
    told = forecast(held_by(None), "w0", "fcfs", past=past, replays=500)
    # evenly between 100 s, which it has lasted, and 500 s
    assert told.median == pytest.approx(200, rel=0.1)
    assert told.low == pytest.approx(40, rel=0.25)


def test_without_history_it_says_so() -> None:
    told = forecast(held_by(None, None), "w0")
    assert told.state == "unknown"
    assert told.basis.startswith("no history: nothing tells how long 2 other claims will hold units.")
    assert times(told) == (math.inf,) * 3
    assert told.queue is None


def test_one_known_holder_is_enough() -> None:
    assert forecast(held_by(None, 500.0), "w0").median == 400


@pytest.mark.parametrize(
    ("options", "principals"),
    [
        ({"unit": Resources(64_000, 1024)}, ()),
        ({"min": 3, "max": 3}, ()),
        ({}, (Principal("cluster/default/waiter0", limit=Resources(500, 9000)),)),
    ],
)
def test_what_can_never_start(options: dict[str, object], principals: tuple[Principal, ...]) -> None:
    snapshot = replace(held_by(400.0, 500.0, **options), principals=principals)
    told = forecast(snapshot, "w0")
    assert (told.state, told.median, told.replays) == ("never", math.inf, 0)
    assert decide(snapshot).reasons["w0"].startswith("It can never start")


def test_room_and_what_others_give_back_are_now() -> None:
    assert forecast(Snapshot((node(2),), (), (demand("a", "ada", 2),)), "a").state == "now"
    both = Snapshot((node(2),), (), (demand("a", "ada", 2), demand("b", "bob", 2)), (Lease("a", "local", 2),))
    assert forecast(both, "b").state == "now"
    assert forecast(both, "b", "fcfs").state == "unknown"  # a queue takes nothing from anybody


def test_growth_is_told_of_a_claim_that_holds_some() -> None:
    snapshot = held_by(400.0, 900.0)
    snapshot = replace(snapshot, demands=(*snapshot.demands[1:], replace(snapshot.demands[0], max=2)))
    told = forecast(replace(snapshot, demands=snapshot.demands[:1] + snapshot.demands[2:]), "h0")
    assert (told.units, told.median) == (2, 800)


def test_claims_to_come_are_those_of_the_past_once_more() -> None:
    """Where somebody of higher priority comes every minute, and stays, it takes longer under priority."""
    past = [
        Past("cluster/default/boss", THREAD, 1, 1, NOW - 60.0 * i, NOW - 60.0 * i, NOW - 60.0 * i + 59, 59, 9)
        for i in range(1, 60)
    ]
    snapshot = held_by(400.0)
    alone = forecast(snapshot, "w0", "fcfs", past=past)
    passed = forecast(snapshot, "w0", "priority", past=past)
    assert alone.median < passed.median
    assert "how claims came" in passed.basis


def test_theory_stands_beside_it() -> None:
    """Ten claims an hour of an hour each, on a machine for 16: the rates are what they are."""
    past = [Past(f"cluster/default/u{i % 7}", THREAD, 1, 1, NOW - 360.0 * i, NOW - 360.0 * i, None) for i in
            range(1, 11)]  # fmt: skip
    past += [replace(one, submitted=one.submitted - 3600, started=one.submitted - 3600, ended=one.submitted)
             for one in past]  # fmt: skip
    snapshot = replace(held_by(*[4000.0] * 16), now=NOW)
    queue = forecast(snapshot, "w0", "fcfs", past=past).queue
    assert queue is not None
    assert (queue.servers, queue.service_rate) == (16, pytest.approx(1 / 3600))
    assert queue.arrival_rate == pytest.approx(20 / 7200)
    assert queue.W_q > 0


@pytest.mark.parametrize(
    "wrong",
    [{"replays": 0}, {"units": 0}, {"policy": "luck"}],
)
def test_wrong_questions(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"give 1 or more|There is no policy"):
        forecast(held_by(400.0), "w0", **wrong)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        forecast(held_by(400.0), "nobody")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"started": 5.0}, "follow each other"),
        ({"submitted": math.nan}, "finite"),
        ({"started": 20.0, "ended": 15.0}, "follow each other"),
        ({"duration": 0.0}, "seconds above 0"),
        ({"duration": math.inf}, "seconds above 0"),
    ],
)
def test_a_past_that_cannot_be_is_refused(fields: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Past("cluster/default/ada", THREAD, 1, 1, **({"submitted": 10.0} | fields))


def test_what_begins_after_now_is_not_looked_at() -> None:
    later = [Past("cluster/default/u", THREAD, 1, 1, NOW + i, NOW + i, NOW + i + 5) for i in range(1, 40)]
    assert forecast(held_by(None), "w0", past=later).state == "unknown"
    ends_later = [Past("cluster/default/u", THREAD, 1, 1, NOW - 50, NOW - 50, NOW + 5)]
    assert forecast(held_by(None), "w0", past=ends_later).state == "unknown"


def test_the_end_of_a_guard_is_found_though_it_was_rounded() -> None:
    """(began + 60) − began is less than 60 for this moment."""
    began = 28.34747652200631
    assert began + 60 - began < 60
    held = demand("a", "ada", 1, started=began)
    first = (Principal("cluster/default/bob", priority=1),)
    snapshot = Snapshot(
        (node(1),), first, (held, demand("b", "bob", 1)), (Lease("a", "local", 1),), began + 1
    )
    told = forecast(replace(snapshot, sharing=Sharing(guard=60)), "b", replays=9)
    assert told.median == pytest.approx(59)


def test_a_stated_duration_of_nothing_is_no_statement() -> None:
    held = replace(held_by(400.0).demands[0], duration=0.0)
    snapshot = held_by(400.0)
    told = forecast(replace(snapshot, demands=(held, *snapshot.demands[1:])), "w0")
    assert told.state == "unknown"


def test_no_time_for_a_replay_is_said() -> None:
    told = forecast(held_by(400.0), "w0", "fcfs", enough=lambda finished: True)
    assert (told.state, told.replays, told.median) == ("unknown", 0, math.inf)
    assert told.basis == "there was time for 0 of 100 replays, too few to tell an interval."


@pytest.mark.parametrize(("asked", "state"), [(8, "unknown"), (9, "expected")])
def test_an_interval_takes_nine_replays(asked: int, state: str) -> None:
    told = forecast(held_by(400.0), "w0", "fcfs", enough=lambda finished: finished >= asked)
    assert (told.state, told.replays) == (state, asked)


@settings(max_examples=max(1, settings.default.max_examples // 8))
@given(snapshots(), st.sampled_from(["fair_share", "fcfs", "sjf+easy", "priority+conservative"]))
def test_any_snapshot_has_a_sound_forecast(snapshot: Snapshot, policy: str) -> None:
    past = [Past("cluster/text/bob", THREAD, 1, 2, i / 4, i / 4, i / 4 + 1 + i % 3) for i in range(12)]
    for one in snapshot.demands:
        told = forecast(snapshot, one.claim, policy, past=past, replays=5, horizon=100.0)
        assert told == forecast(snapshot, one.claim, policy, past=past, replays=5, horizon=100.0)
        assert 0 <= told.low <= told.median <= told.high
        assert told.basis
        assert (told.state == "now") == (told.high == 0)
        if told.state == "never":
            assert told.low == math.inf


lengths = st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=30)


@given(lengths, st.floats(0, 2e6), st.floats(0, 1), st.floats(0, 1))
def test_a_drawn_length_is_never_past_already_and_rises_with_its_part(
    seen: list[tuple[float, bool]], age: float, one: float, other: float
) -> None:
    lifetimes = Lifetimes(seen)
    less, more = sorted((one, other))
    assert age <= lifetimes.draw(age, less) <= lifetimes.draw(age, more) * (1 + 1e-9) + 1e-9


def test_a_distribution_comes_back() -> None:
    """Draws from many exponential lengths, of which a third was cut off, have the median of all."""
    random = Random(1)
    seen = []
    for _ in range(3000):
        length, cut = random.expovariate(1 / 600), random.expovariate(1 / 1200)
        seen.append((min(length, cut), length <= cut))
    lifetimes = Lifetimes(seen)
    for age in (0.0, 300.0, 900.0):  # an exponential length has no memory
        assert lifetimes.draw(age, 0.5) - age == pytest.approx(600 * math.log(2), rel=0.1)


def test_own_records_count_the_more_the_more_there_are() -> None:
    def half_own(records: int) -> int:
        past = [Past("cluster/default/own", THREAD, 1, 1, i, i, i + 10.0) for i in range(records)]
        past += [Past("cluster/default/other", THREAD, 1, 1, i, i, i + 1e5) for i in range(1000)]
        holdings = Holdings(past, 1e7)
        one = demand("a", "own", 1)
        return sum(holdings.draw(one, 0.0, 0.5, (i + 0.5) / 100) < 11 for i in range(100))

    assert [half_own(0), half_own(10), half_own(90)] == [0, 50, 90]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_lie_between_draws(draws: list[float], part: float) -> None:
    ordered = sorted(draws)
    assert ordered[0] <= quantile(ordered, part) <= ordered[-1]


def test_quantiles_of_nine_and_of_what_never_comes() -> None:
    assert [quantile(list(range(1, 10)), part) for part in (0.1, 0.5, 0.9)] == [1, 5, 9]
    assert quantile([1.0, 2.0, math.inf], 0.9) == math.inf
    assert quantile([1.0, 2.0, math.inf], 0.5) == 2


def used_by(jobs: Sequence[Job], done: Mapping[int, FinishedJob], now: float) -> Meter:
    """What everybody has used before this moment."""
    events = [(done[job.id].start, job.count, job) for job in jobs]
    events += [(done[job.id].end, -job.count, job) for job in jobs]
    meter = Meter(DEFAULT_SHARING)
    for time, units, job in sorted(events, key=lambda event: event[:2]):
        if time <= now:
            if units > 0:
                meter.charge(f"cluster/default/{job.user}", job.unit, units, time)
            meter.hold(f"cluster/default/{job.user}", job.unit, units, time)
    return Meter(DEFAULT_SHARING, meter.to_keep(now))


@pytest.mark.parametrize("policy", ["fair_share", "fcfs", "sjf+easy", "saf+conservative", "priority+easy"])
@pytest.mark.parametrize("seed", range(3))
def test_with_the_true_lengths_and_arrivals_it_is_what_the_simulator_does(policy: str, seed: int) -> None:
    assert policy in POLICIES
    random, now, jobs = Random(seed), 0.0, []
    for number in range(60):
        now += random.choice((0, 5, 20, 60))
        run = random.choice((10.0, 50.0, 130.0))
        jobs.append(Job(number, now, run, THREAD, random.choice((1, 1, 2, 4)), run * 2, f"u{number % 3}"))
    done = {one.id: one for one in play(jobs, [node(4)], policy).finished}
    wanting = {
        job.id: demand(
            f"j{job.id:09d}", job.user, job.count, min=job.count, submitted=job.submit,
            duration=job.requested, name=f"j{job.id:09d}", **RIGID,
        )
        for job in jobs
    }  # fmt: skip
    checked = 0
    for job in jobs[5:]:
        now, start = job.submit, done[job.id].start
        if any(other.submit == now and other.id != job.id for other in jobs) or start == now:
            continue
        living = [other for other in jobs if other.submit <= now < done[other.id].end]
        running = {other.id for other in living if done[other.id].start <= now}
        demands = [
            replace(wanting[other.id], started=done[other.id].start if other.id in running else None)
            for other in living
        ]
        leases = [
            Lease(wanting[other.id].claim, "local", other.count) for other in living if other.id in running
        ]
        principals = sorted({"cluster", "cluster/default"} | {one.principal for one in wanting.values()})
        used = used_by(jobs, done, now).usage(principals, now)
        replay = Replay(
            Snapshot((node(4),), (), tuple(demands), tuple(leases), now, FIRST, used, DEFAULT_SHARING),
            policy_of(policy),
            {wanting[other.id].claim: float(other.run or 0) for other in living},
            [Arrival(wanting[other.id], float(other.run or 0)) for other in jobs if other.submit > now],
        )
        assert replay.start_of(wanting[job.id].claim, job.count, 1e9, lambda: False) == start - now
        checked += 1
    assert checked > 10
