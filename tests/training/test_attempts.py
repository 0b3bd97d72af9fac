"""The state machine of a run over its attempts: tables, and any sequence of what may happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios_lab.training.leader.attempts import Attempts
from aios_lab.training.leader.holds import PAUSE_LAG, SAVE_EVERY
from aios_lab.training.leader.retries import CRASHES
from aios_lab.training.leader.scaling import GROW_AFTER, Scaling
from aios_lab.training.leader.worlds import Act, Leave, Send, Start
from aios_lab.training.spec import End, Outcome
from aios_lab.wire import RunState

ANY = Scaling(1)
A, B, C = "tcp://h:1", "tcp://h:2", "tcp://h:3"


def end(rank: int, outcome: Outcome = "ok", error: str = "", code: int | None = 0) -> End:
    return End(rank, "h", outcome, 0.0, code, error, "Traceback" if error else "")


def running(places: tuple[str, ...] = (A, B), scaling: Scaling = ANY, by_clock: bool = False) -> Attempts:
    run = Attempts(places, scaling, by_clock)
    for rank in range(len(places)):
        run.on_ready(0, rank, 0)
    run.on_resumable(None, 0)
    assert run.tick(1) == []
    assert run.state is RunState.RUNNING
    return run


def paused(run: Attempts, attempt: int, now: float) -> list[Act]:
    """The present world holds, settles and ends."""
    assert run.world is not None
    number, size = run.holds.count, len(run.world.places)
    acts: list[Act] = []
    for rank in range(size):
        acts += run.on_held(attempt, rank, number)
    assert [(act.order, act.rank) for act in acts if isinstance(act, Send)] == [("settle", 0)]
    run.on_pausing(attempt, now)
    acts = []
    for rank in range(size):
        acts += run.on_end(attempt, end(rank, "paused"), now)
    return acts


def test_a_planned_change_prepares_the_next_world_first() -> None:
    run = running()
    assert run.on_leaving([B], 2) == [Start(1, (A,))]
    assert run.state is RunState.RUNNING
    assert run.on_ready(1, 0, 3) == [Send(0, "hold", {"number": 1, "why": "pause"})]
    run.on_pausing(0, 3.5)
    assert run.state is RunState.RESIZING
    acts = paused(run, 0, 4)
    assert acts == [Send(1, "go"), Leave(frozenset({A}))]
    assert run.state is RunState.RESIZING
    change = run.on_going(1)
    assert change is not None
    assert (change.before, change.planned) == (2, True)
    assert run.state is RunState.RUNNING


def test_workers_that_come_together_are_taken_together() -> None:
    run = running((A,))
    assert run.on_worker(B, 2) + run.on_worker(C, 2.1) == []
    assert run.tick(2 + GROW_AFTER / 2) == []
    assert run.tick(2 + GROW_AFTER) == [Start(1, (A, B, C))]


def test_a_run_takes_no_more_workers_than_asked_and_than_its_batch_has_samples() -> None:
    run = running((A,), Scaling(1, 1))
    run.on_worker(B, 2)
    assert run.tick(9) == []
    run = running((A,))
    run.on_resumable(2, 1)
    run.on_worker(B, 2)
    run.on_worker(C, 2)
    assert run.tick(9) == [Start(1, (A, B))]


def test_after_a_crash_the_rest_is_killed_and_the_next_world_begins_with_those_left() -> None:
    run = running()
    assert run.on_lost(B, end(1, "lost"), 2) == [Send(0, "kill")]
    assert run.on_end(0, end(0, "killed"), 2.1) == [Start(1, (A,))]
    assert run.state is RunState.RECOVERING
    assert run.on_ready(1, 0, 3) == [Send(1, "go"), Leave(frozenset({A}))]
    assert run.on_going(1) is not None
    run.on_worker(C, 4)
    assert run.tick(5) == [Start(2, (A, C))]


def test_a_world_trains_before_the_next_change_begins() -> None:
    """Else what the first change cost would be told of the second."""
    run = running()
    run.on_lost(B, end(1, "lost"), 2)
    run.on_end(0, end(0, "killed"), 2.1)
    run.on_ready(1, 0, 3)
    run.on_worker(C, 3.1)
    assert run.tick(9) == []
    change = run.on_going(1)
    assert change is not None
    assert not change.planned
    assert run.tick(9.1) == [Start(2, (A, C))]


def test_a_run_that_loses_all_waits_and_begins_when_a_worker_comes() -> None:
    run = running()
    assert run.on_leaving([A, B], 2) == [Send(0, "hold", {"number": 1, "why": "pause"})]
    assert paused(run, 0, 3) == [Leave(frozenset())]
    assert run.state is RunState.WAITING
    run.on_lost(A, end(0, "lost"), 4)
    run.on_lost(B, end(1, "lost"), 4)
    run.on_worker(C, 100)
    assert run.tick(101) == [Start(1, (C,))]
    assert run.retries.crashes == 0


def test_a_run_waits_below_its_minimum() -> None:
    run = running(scaling=Scaling(2))
    run.on_lost(B, end(1, "lost"), 2)
    assert run.on_end(0, end(0, "killed"), 2.1) == [Leave(frozenset())]
    assert run.state is RunState.WAITING
    assert run.on_stop(3) == []
    assert run.state is RunState.STOPPED


def test_what_users_raise_is_final_and_crashes_are_counted_until_a_checkpoint() -> None:
    run = running()
    run.on_end(0, end(1, "failed", "ValueError: x", 1), 2)
    assert run.tick(10) == [Send(0, "kill")]
    run.on_end(0, end(0, "killed"), 10)
    assert run.state is RunState.FAILED
    run = running((A,))
    for attempt in range(CRASHES):
        assert run.on_end(attempt, end(0, "failed", code=-9), attempt) == [Start(attempt + 1, (A,))]
        run.on_ready(attempt + 1, 0, attempt)
    run.on_saved(CRASHES, 50)
    assert run.on_end(CRASHES, end(0, "failed", code=-9), 51) == [Start(CRASHES + 1, (A,))]
    run.on_ready(CRASHES + 1, 0, 51)
    for attempt in range(CRASHES + 1, 2 * CRASHES):
        run.on_end(attempt, end(0, "failed", code=-9), attempt)
        run.on_ready(attempt + 1, 0, attempt)
    run.on_end(2 * CRASHES, end(0, "failed", code=-9), 99)
    assert run.state is RunState.FAILED


def test_a_run_that_cannot_resume_fails_with_its_worker() -> None:
    run = Attempts((A, B), Scaling(1))
    for rank in (0, 1):
        run.on_ready(0, rank, 0)
    run.on_worker(C, 1)
    assert run.tick(9) == []
    run.on_lost(B, end(1, "lost"), 10)
    run.on_end(0, end(0, "killed"), 11)
    assert run.state is RunState.FAILED


def test_a_world_that_loses_a_worker_while_it_gets_ready_is_made_anew() -> None:
    run = running((A,))
    run.on_worker(B, 1)
    run.on_worker(C, 1)
    assert run.tick(2) == [Start(1, (A, B, C))]
    assert run.on_lost(C, end(-1, "lost"), 3) == [Send(1, "kill")]
    assert run.on_ready(1, 0, 3) == []
    assert run.tick(4) == [Start(2, (A, B))]
    assert run.state is RunState.RUNNING


def test_it_saves_by_the_clock_and_one_thing_at_a_time() -> None:
    run = running(by_clock=True)
    assert run.tick(SAVE_EVERY - 1) == []
    assert run.tick(SAVE_EVERY) == [Send(0, "hold", {"number": 1, "why": "save"})]
    assert run.on_leaving([B], SAVE_EVERY + 1) == []
    assert run.tick(SAVE_EVERY + 2) == []
    assert run.on_saved(0, SAVE_EVERY + 3) == []
    assert run.tick(SAVE_EVERY + 4) == [Start(1, (A,))]


def test_a_rank_that_does_not_pause_with_the_others_is_ended() -> None:
    run = running()
    run.on_leaving([B], 2)
    run.on_ready(1, 0, 3)
    run.on_end(0, end(0, "paused"), 4)
    assert run.tick(4 + PAUSE_LAG + 1) == [Send(0, "kill")]
    assert run.on_end(0, end(1, "killed"), 20) == [Send(1, "go"), Leave(frozenset({A}))]


def test_what_an_earlier_world_saved_late_is_no_progress() -> None:
    run = running((A,))
    run.on_end(0, end(0, "failed", code=-9), 2)
    run.on_ready(1, 0, 3)
    crashes = run.retries.crashes
    run.on_saved(0, 4)
    assert run.retries.crashes == crashes == 1
    run.on_saved(1, 5)
    assert run.retries.crashes == 0


@pytest.mark.parametrize("stop", [Attempts.on_stop, Attempts.on_kill])
def test_a_stop_in_the_middle_of_a_change_ends_both_worlds(
    stop: Callable[[Attempts, float], list[Act]],
) -> None:
    run = running()
    run.on_leaving([B], 2)
    orders = {(act.attempt, act.order) for act in stop(run, 3) if isinstance(act, Send)}
    assert (1, "kill") in orders
    assert len(orders) == 2
    for rank in (0, 1):
        run.on_end(0, end(rank, "stopped"), 4)
    assert run.state is RunState.STOPPED


class AnyLife(RuleBasedStateMachine):
    """Ranks that do as they are told, on workers that come, leave and die at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 2
        self.run = Attempts((A, B), Scaling(1), by_clock=True)
        self.alive: dict[tuple[int, int], str] = {(0, 0): A, (0, 1): B}  # ranks, and where they are
        self.there = {A, B}
        self.going = {0}
        self.do(self.run.on_ready(0, 0, 0) + self.run.on_ready(0, 1, 0))
        self.run.on_resumable(None, 0)

    def do(self, acts: list[Act]) -> None:
        for act in acts:
            if isinstance(act, Start):
                assert {*act.places} <= self.there - self.run.leaving
                for rank, place in enumerate(act.places):
                    self.alive[act.attempt, rank] = place
                for rank in range(len(act.places)):
                    self.do(self.run.on_ready(act.attempt, rank, self.now))
            elif isinstance(act, Send):
                self.obey(act)

    def obey(self, act: Send) -> None:
        ranks = [rank for attempt, rank in self.alive if attempt == act.attempt]
        match act.order:
            case "go":
                self.going.add(act.attempt)
                training = {attempt for attempt, _ in self.alive} & self.going
                assert training == {act.attempt}, "two worlds train at once"
                self.run.on_going(act.attempt)
            case "kill":
                for rank in ranks:
                    if self.alive.pop((act.attempt, rank), None):
                        self.do(self.run.on_end(act.attempt, end(rank, "killed"), self.now))
            case "hold":
                for rank in ranks:
                    self.do(self.run.on_held(act.attempt, rank, act.values["number"]))
            case "settle" if act.values["why"] == "save":
                self.do(self.run.on_saved(act.attempt, self.now))
            case "settle":
                for rank in ranks:
                    if self.alive.pop((act.attempt, rank), None):
                        self.do(self.run.on_end(act.attempt, end(rank, "paused"), self.now))

    @rule()
    def a_worker_comes(self) -> None:
        self.count += 1
        address = f"tcp://h:{self.count}"
        self.there.add(address)
        self.do(self.run.on_worker(address, self.now))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def some_leave(self, data: st.DataObject) -> None:
        which = data.draw(st.sets(st.sampled_from(sorted(self.there)), min_size=1))
        self.do(self.run.on_leaving(which, self.now))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def one_dies(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.there)))
        self.there.discard(address)
        self.alive = {key: place for key, place in self.alive.items() if place != address}
        self.do(self.run.on_lost(address, end(-1, "lost"), self.now))

    @rule(seconds=st.floats(0.1, 40))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.run.tick(self.now))

    @rule()
    def a_checkpoint_stands(self) -> None:
        if self.run.world is not None:
            self.do(self.run.on_saved(self.run.world.attempt, self.now))

    @invariant()
    def it_goes_on_where_it_can(self) -> None:
        """With workers that stay, it trains on all of them once everything has had its time."""
        if self.run.over:
            assert self.run.state is RunState.FAILED
            assert self.run.retries.crashes > CRASHES
            return
        for _ in range(4):
            self.now += 1
            self.do(self.run.tick(self.now))
        staying = self.there - self.run.leaving
        places = {place for (attempt, _), place in self.alive.items() if attempt in self.going}
        if not self.run.over:
            assert places == staying, self.run.state
            assert self.run.state is (RunState.RUNNING if staying else RunState.WAITING)


AnyLife.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyLife = AnyLife.TestCase


def test_who_stops_a_run_that_fails_just_then_has_stopped_it() -> None:
    run = running()
    run.on_lost(B, end(1, "lost"), 2)
    assert run.on_stop(2.05) == []
    assert run.on_end(0, end(0, "killed"), 2.1) == []
    assert run.state is RunState.STOPPED


def test_a_world_that_never_gets_ready_is_not_begun_for_ever() -> None:
    run = running()
    run.on_lost(B, end(1, "lost"), 2)
    assert run.on_end(0, end(0, "killed"), 2.1) == [Start(1, (A,))]
    for attempt in range(1, CRASHES):
        acts = run.on_end(attempt, end(0, "failed", code=-9), 3)
        assert acts == [Send(attempt, "kill"), Start(attempt + 1, (A,))]
    run.on_end(CRASHES, end(0, "failed", code=-9), 3)
    assert run.over
    assert run.state is RunState.FAILED
    assert run.ends[0].code == -9


def test_what_the_users_code_raises_before_a_world_is_ready_ends_the_run_that_has_no_other() -> None:
    run = running()
    run.on_lost(B, end(1, "lost"), 2)
    run.on_end(0, end(0, "killed"), 2.1)
    assert run.on_end(1, end(0, "failed", "SyntaxError: a module", code=1), 3) == [Send(1, "kill")]
    assert run.state is RunState.FAILED


def test_a_change_that_cannot_be_made_is_tried_again_later_each_time() -> None:
    run = running((A,))
    run.on_worker(B, 2)
    now, waits = 2.0, []
    for attempt in range(1, 5):
        begun = now
        while not (acts := run.tick(now)):
            now += 0.01
        assert acts == [Start(attempt, (A, B))]
        waits.append(now - begun)
        run.on_end(attempt, end(1, "failed", "ImportError: there", code=1), now)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
    assert run.state is RunState.RUNNING
