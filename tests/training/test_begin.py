"""What happens to a run whose beginning is cut short: it ends at its tracker too."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from aios_lab.notebook import sdk
from aios_lab.training import LocalTracker, train
from aios_lab.wire import Run, RunRequest, RunState
from live import until
from training import functions
from training.helpers import ranks_left


class SlowTracker(LocalTracker):
    """A tracker whose answer takes until it is let go, as a server's that waits for MLflow."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked = threading.Event()
        self.go = threading.Event()
        self.updated = threading.Event()

    def begin(self, request: RunRequest) -> Run:
        self.asked.set()
        assert self.go.wait(20)
        return super().begin(request)

    def update(self, run_id: str, update: Any) -> Any:
        answer = super().update(run_id, update)
        self.updated.set()
        return answer


def test_an_interrupt_while_the_tracker_answers_leaves_no_run(client: Client, tmp_path: Path) -> None:
    tracker = SlowTracker(tmp_path)

    def interrupt() -> None:
        assert tracker.asked.wait(20)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        train(functions.facts, client=client, tracker=tracker)
    interrupting.join()
    tracker.go.set()
    assert tracker.updated.wait(60)
    (run,) = tracker.runs.values()
    assert run.state is RunState.STOPPED


class FailingTracker(LocalTracker):
    """A tracker whose folder cannot be told when the run is about to be led."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(folder)
        self.error: BaseException | None = error

    @property
    def runs_dir(self) -> Path:
        if self.runs and self.error is not None and threading.current_thread() is threading.main_thread():
            error, self.error = self.error, None
            raise error
        return self._folder

    @runs_dir.setter
    def runs_dir(self, folder: Path) -> None:
        self._folder, self.runs, self.error = folder, {}, None


@pytest.mark.parametrize(
    ("error", "state"),
    [(RuntimeError("no folder"), RunState.FAILED), (KeyboardInterrupt(), RunState.STOPPED)],
)
def test_a_run_that_is_not_led_is_ended(
    client: Client, tmp_path: Path, error: BaseException, state: RunState
) -> None:
    tracker = FailingTracker(tmp_path, error)
    with pytest.raises(type(error)):
        train(functions.facts, client=client, tracker=tracker)
    (run,) = tracker.runs.values()
    assert run.state is state
    assert run.error


def test_a_tracker_that_refuses_says_so_to_the_caller(client: Client, tmp_path: Path) -> None:
    class Refusing(LocalTracker):
        def begin(self, request: RunRequest) -> Run:
            raise PermissionError("MLflow does not answer")

    with pytest.raises(PermissionError, match="MLflow does not answer"):
        train(functions.facts, client=client, tracker=Refusing(tmp_path))


def test_an_interrupt_while_the_call_is_kept_leaves_no_run(client: Client, tmp_path: Path) -> None:
    tracker = LocalTracker(tmp_path)

    class Slow:
        """The user has no patience while this is packed for the second time, when the run has begun."""

        def __reduce__(self) -> Any:
            if tracker.runs:
                signal.raise_signal(signal.SIGINT)
            return str, ()

    def waits(ctx: Any, given: Any) -> int:
        return int(functions.until_stopped(ctx))

    with pytest.raises(KeyboardInterrupt):
        sdk.begin(waits, None, (Slow(),), None, "ddp", client, tracker=tracker)
    (run,) = tracker.runs.values()
    until("the run has ended", lambda: run.state.ended, 60)
    assert run.state is RunState.STOPPED
    assert ranks_left() == []
