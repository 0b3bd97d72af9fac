"""What a cell shows while it waits or trains: one output, updated in place."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from aios_lab.notebook.errors import Interrupted
from aios_lab.training.spec import SAVE_GRACE

if TYPE_CHECKING:
    from aios_lab.training import Run as LiveRun
    from aios_lab.wire import Run

RUN_MIME = "application/vnd.aios.run.v1+json"
PERIOD = 0.5  # seconds between updates of a run's display
PLAIN_PERIOD = 5.0  # the same where every update is a line of its own
END_BOUND = SAVE_GRACE + 10.0  # seconds that a run which is to end gets for it; 2 do without a model to save


class Output:
    """One output of the cell. In a kernel it is updated in place; elsewhere each new text is printed once."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._text = ""
        self._printed = 0.0

    def show(self, text: str, rich: dict[str, Any] | None = None, last: bool = True) -> None:
        """``rich`` maps MIME types to data. With ``last`` false a terminal may leave the text out."""
        if not in_kernel():
            self._print(text, last)
            return
        import IPython.display

        display: Any = IPython.display.display  # it has no types
        bundle = {"text/plain": text, **(rich or {})}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        elif rich is not None or text != self._text:
            self._handle.update(bundle, raw=True)
        self._text = text

    def _print(self, text: str, last: bool) -> None:
        now = time.monotonic()
        if text != self._text and (last or now - self._printed >= PLAIN_PERIOD):
            print(text)
            self._text, self._printed = text, now


def in_kernel() -> bool:
    """Whether displays can be updated: an IPython kernel, and not a terminal or a script."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def watch(run: LiveRun) -> None:
    """Show ``run`` until it ends.

    An interrupt of the kernel stops it, a second one kills it. Raises Interrupted after an interrupt, and
    TrainingFailed for a run that failed.
    """
    output = Output()
    try:
        _follow(run, output)
    except KeyboardInterrupt:
        _stop(run, output)
        raise Interrupted(_stopped(run.view())) from None
    run.wait(END_BOUND)
    if run.view().state.value == "stopped":
        print(_stopped(run.view()))


def _stop(run: LiveRun, output: Output) -> None:
    run.cancel()
    deadline = time.monotonic() + END_BOUND
    while not run.state.ended and time.monotonic() < deadline:
        try:
            _follow(run, output, deadline - time.monotonic())
        except KeyboardInterrupt:  # the second one: no more patience
            run.kill()


def _follow(run: LiveRun, output: Output, seconds: float = math.inf) -> None:
    """Show the run until it ended, or for ``seconds``."""
    ended = threading.Event()
    forget = run.on_change(lambda: ended.set() if run.state.ended else None)
    deadline = time.monotonic() + seconds
    shown = None
    try:
        while not run.state.ended and time.monotonic() < deadline:
            view = run.view()
            if view != shown:
                output.show(progress(view), _rich(view), last=False)
                shown = view
            ended.wait(PERIOD)
    finally:
        forget()
    output.show(progress(run.view()), _rich(run.view()))


def _rich(view: Run) -> dict[str, Any]:
    return {RUN_MIME: view.model_dump(mode="json")}


def _stopped(view: Run) -> str:
    where = f"stopped at step {view.step}" if view.state.value == "stopped" else f"is {view.state.value}"
    again = (
        f" %aios resume {view.id} goes on from step {view.checkpoints[-1].step}." if view.checkpoints else ""
    )
    kept = ' The model that it saved is kept: aios.models.register(run, "NAME").' if view.has_model else ""
    result = "what it returned on the stop, if anything, is in run.result()."
    return f"The run {view.name!r} {where}; {result}{kept}{again}"


def progress(view: Run) -> str:
    """A line: name, state, how far, how fast, the latest metrics. Below it what it does just now, what
    resizes cost it, and why it failed, where there is something to say."""
    ranks = f"{view.world_size} rank{'' if view.world_size == 1 else 's'}"
    parts = [f"{view.name}: {view.state.value} on {ranks}", *_progress(view)]
    if view.throughput:
        eta = f", {_seconds(view.eta)} left" if view.eta is not None and view.ended is None else ""
        parts.append(f"{view.throughput:.3g} steps/s{eta}")
    if view.metrics:
        parts.append("  ".join(f"{name} {value:.4g}" for name, value in view.metrics.items()))
    lines = [" | ".join(parts), view.note if view.ended is None else "", _cost(view)]
    lines += view.error.splitlines()[:1]
    return "\n".join(filter(None, lines))


def _cost(view: Run) -> str:
    """The last resize in words, and what all of them cost; empty while there was none."""
    if not view.resizes:
        return ""
    last, lost = view.resizes[-1], view.lost
    count = f"{len(view.resizes)} resize{'' if len(view.resizes) == 1 else 's'}"
    steps = f"{lost.steps} step{'' if lost.steps == 1 else 's'} redone"
    change = f"{last.before} to {last.after} ranks at step {last.step}"
    return f"{count}, {steps}, paused {_seconds(lost.seconds)}; the last from {change}: {last.why}"


def _progress(view: Run) -> list[str]:
    parts = []
    if view.epoch is not None:
        of = f" of {view.total_epochs}" if view.total_epochs else ""
        parts.append(f"epoch {view.epoch + 1}{of}")
    share = _share(view)
    if share is not None:
        done = round(20 * share)
        parts.append(f"{'█' * done}{'░' * (20 - done)} {share:.0%}")
    if view.step or view.total_steps:
        parts.append(f"step {view.step}" + (f" of {view.total_steps}" if view.total_steps else ""))
    return parts


def _share(view: Run) -> float | None:
    if view.state.value == "finished":
        return 1.0
    if view.total_steps:
        return min(1.0, view.step / view.total_steps)
    if view.total_epochs and view.epoch is not None:
        return min(1.0, view.epoch / view.total_epochs)
    return None


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
