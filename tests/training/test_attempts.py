"""The state machine of a run over its attempts: tables, and any sequence of what may happen."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from aios_lab.training.leader.attempts import READY_WITHIN, Attempts
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


def running(
    places: tuple[str, ...] = (A, B),
    scaling: Scaling = ANY,
    by_clock: bool = False,
    clock: Callable[[], float] = time.time,
) -> Attempts:
    run = Attempts(places, scaling, by_clock, clock)
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
    run.on_held(0, 0, 1)
    assert run.on_held(0, 1, 1) == [Send(0, "settle", {"number": 1, "why": "save"}, rank=0)]
    assert run.on_leaving([B], SAVE_EVERY + 1) == []
    assert run.tick(SAVE_EVERY + 2) == []
    assert run.on_saved(0, SAVE_EVERY + 3) == []
    assert run.tick(SAVE_EVERY + 4) == [Start(1, (A,))]


def test_a_save_that_not_all_know_of_yet_gives_way_where_workers_leave() -> None:
    run = running(by_clock=True)
    assert run.tick(SAVE_EVERY) == [Send(0, "hold", {"number": 1, "why": "save"})]
    run.on_held(0, 0, 1)
    assert run.on_leaving([B], SAVE_EVERY + 1) == [Start(1, (A,))]
    assert run.on_held(0, 1, 1) == []
    assert run.tick(SAVE_EVERY + 2) == []
    assert run.on_ready(1, 0, SAVE_EVERY + 3) == [Send(0, "hold", {"number": 2, "why": "pause"})]


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
    now, waits = 3.0, []
    for attempt in range(1, CRASHES):
        acts = run.on_end(attempt, end(0, "failed", code=-9), now)
        assert acts == [Send(attempt, "kill"), Leave(frozenset())]
        begun = now
        while not (acts := run.tick(now)):
            now += 0.01
        assert acts == [Start(attempt + 1, (A,))]
        waits.append(now - begun)
    assert waits[1] > 1.5 * waits[0] > GROW_AFTER
    run.on_end(CRASHES, end(0, "failed", code=-9), now)
    assert run.over
    assert run.state is RunState.FAILED
    assert run.ends[0].code == -9


def test_a_loss_that_was_announced_excuses_no_crash_but_its_own() -> None:
    run = running((A,))
    run.on_worker(B, 2)
    run.on_leaving([A], 2)
    assert run.on_lost(A, end(-1, "lost"), 2) == []
    assert (run.world, run.retries.crashes) == (None, 0)
    now = 2.0
    for crashes in range(1, CRASHES + 2):
        assert run.next is not None
        run.on_end(run.next.attempt, end(0, "failed", code=-9), now)
        assert run.retries.crashes == crashes
        now += 100
        run.tick(now)
    assert run.state is RunState.FAILED
    run = running((A,), Scaling(1, 1))
    run.on_worker(B, 2)
    run.on_leaving([B], 3)
    run.on_lost(B, end(-1, "lost"), 4)
    run.on_end(0, end(0, "failed", code=-9), 5)
    assert run.retries.crashes == 1


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


def test_a_world_that_does_not_get_ready_in_time_gives_way_and_the_run_goes_on() -> None:
    run = running((A,))
    run.on_worker(B, 2)
    assert run.tick(3) == [Start(1, (A, B))]
    run.on_ready(1, 0, 4)
    assert run.tick(3 + READY_WITHIN) == []
    late = 3.1 + READY_WITHIN
    assert run.tick(late) == [Send(1, "kill")]
    assert run.state is RunState.RUNNING
    assert run.on_ready(1, 1, late) == []
    again = late
    while not (acts := run.tick(again)):
        again += 0.1
    assert acts == [Start(2, (A, B))]
    assert run.tick(again + 1.9 * READY_WITHIN) == []  # it is given longer


def test_a_run_whose_worlds_never_get_ready_fails_and_says_so() -> None:
    run = running(clock=lambda: 1e9)
    run.on_lost(B, end(1, "lost"), 2)
    assert run.on_end(0, end(0, "killed"), 2.1) == [Start(1, (A,))]
    now = 2.0
    while not run.over:
        now += 1
        run.tick(now)
        assert now < 60 * READY_WITHIN
    assert run.state is RunState.FAILED
    assert (run.ends[0].error, run.ends[0].time) == ("it did not get ready in time", 1e9)


def test_ranks_whose_last_checkpoint_does_not_stand_go_on_and_change_later() -> None:
    run = running((A,))
    run.on_worker(B, 2)
    run.tick(3)
    run.on_ready(1, 0, 4)
    assert run.on_ready(1, 1, 4) == [Send(0, "hold", {"number": 1, "why": "pause"})]
    assert run.on_held(0, 0, 1) == [Send(0, "settle", {"number": 1, "why": "pause"}, rank=0)]
    run.on_pausing(0, 5)
    assert run.state is RunState.RESIZING
    assert run.on_saved(0, 6, good=False) == [Send(1, "kill")]
    assert run.state is RunState.RUNNING
    assert run.tick(6.1) == []
    assert run.tick(9) == [Start(2, (A, B))]
    assert run.on_saved(0, 9.5, good=False) == []  # one that nobody waits for


def test_ranks_that_must_leave_try_again_to_save() -> None:
    run = running((A,))
    assert run.on_leaving([A], 2) == [Send(0, "hold", {"number": 1, "why": "pause"})]
    run.on_held(0, 0, 1)
    assert run.on_saved(0, 3, good=False) == []
    assert run.tick(9) == [Send(0, "hold", {"number": 2, "why": "pause"})]
    assert paused(run, 0, 10) == [Leave(frozenset())]
    assert run.state is RunState.WAITING
