"""The state machine of a run's ranks, and which error is the cause."""

from __future__ import annotations

from aios_lab.training.failures import root_cause
from aios_lab.training.leader.gang import CAUSE_GRACE, KILL_GRACE, PEER_GRACE, Gang
from aios_lab.training.spec import SAVE_GRACE, STOP_GRACE, End, Outcome
from aios_lab.wire import RunState

PEER_ERROR = "RuntimeError: [../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:31377"


def end(rank: int, outcome: Outcome = "ok", error: str = "", at: float = 0.0) -> End:
    return End(rank, "host", outcome, at, error=error, traceback="Traceback" if error else "")


def running() -> Gang:
    gang = Gang(2)
    assert gang.on_ready(1) == []
    assert gang.state is RunState.PENDING
    assert gang.on_ready(0) == ["go"]
    return gang


def test_all_start_together_and_end_well() -> None:
    gang = running()
    assert gang.state is RunState.RUNNING
    assert gang.on_end(end(0), 1) == []
    assert not gang.over
    gang.on_end(end(1), 2)
    assert gang.state is RunState.FINISHED


def test_a_stop_waits_for_a_model_that_is_being_saved_unless_stopped_again() -> None:
    gang = running()
    assert gang.on_stop(10) == ["stop"]
    gang.on_saving(True, 10.5)
    assert gang.tick(10.5 + SAVE_GRACE) == []
    gang.on_saving(False, 30)
    assert gang.tick(30 + STOP_GRACE / 2) == []
    assert gang.tick(30.2 + STOP_GRACE) == ["kill"]
    again = running()
    again.on_saving(True, 9)
    assert again.on_stop(10) == ["stop"]
    assert again.tick(10 + SAVE_GRACE / 2) == []
    assert again.on_stop(11) == ["kill"]
    assert again.tick(11 + KILL_GRACE) == []
    assert again.over


def test_a_failure_kills_the_others_after_a_moment() -> None:
    gang = running()
    assert gang.on_end(end(0, "failed", "ValueError: x"), 1) == []
    assert gang.tick(1 + PEER_GRACE / 2) == []
    assert gang.tick(1 + PEER_GRACE) == ["kill"]
    gang.on_end(end(1, "killed"), 2)
    assert gang.state is RunState.FAILED


def test_a_consequence_waits_longer_for_its_cause() -> None:
    gang = running()
    gang.on_end(end(0, "failed", PEER_ERROR), 1)
    assert gang.tick(1 + CAUSE_GRACE / 2) == []
    assert gang.tick(1 + CAUSE_GRACE) == ["kill"]


def test_a_failure_before_the_start_ends_all_at_once() -> None:
    gang = Gang(2)
    gang.on_ready(0)
    assert gang.on_end(end(1, "failed", "ImportError: torch"), 1) == ["kill"]


def test_the_first_stop_asks_and_the_second_kills() -> None:
    gang = running()
    assert gang.on_stop(1) == ["stop"]
    assert gang.state is RunState.STOPPING
    assert gang.on_stop(1.1) == ["kill"]
    gang.on_end(end(0, "stopped"), 1.2)
    gang.on_end(end(1, "killed"), 1.2)
    assert gang.state is RunState.STOPPED


def test_a_stop_that_nobody_answers_still_ends_within_two_seconds() -> None:
    gang = running()
    gang.on_stop(0)
    assert gang.tick(STOP_GRACE) == []
    killed_at = STOP_GRACE + 0.25
    assert gang.tick(killed_at) == ["kill"]
    assert gang.tick(killed_at + KILL_GRACE) == []
    assert gang.over
    assert gang.state is RunState.STOPPED
    assert killed_at + KILL_GRACE < 2


def test_only_the_first_word_on_a_rank_counts() -> None:
    gang = running()
    gang.on_end(end(0), 1)
    gang.on_end(end(0, "lost", "its worker was lost"), 2)
    gang.on_end(end(1), 3)
    assert gang.state is RunState.FINISHED


def test_the_cause_is_the_earliest_error_that_is_no_consequence() -> None:
    ends = [
        end(0, "failed", PEER_ERROR, at=1),
        end(1, "failed", "KeyError: 'late'", at=3),
        end(2, "failed", "ValueError: early", at=2),
        end(3, "killed"),
    ]
    failure = root_cause(ends)
    assert failure.rank == 2
    assert [f.rank for f in failure.followed] == [0, 1]
    assert "rank 0 on host: RuntimeError" in str(failure)


def test_of_consequences_alone_the_earliest_is_the_cause() -> None:
    assert root_cause([end(0, "failed", PEER_ERROR, at=2), end(1, "failed", PEER_ERROR, at=1)]).rank == 1
