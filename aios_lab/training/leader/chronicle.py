"""What is told of a run's attempts: its ranks, its resizes, its checkpoints, and what it lost by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.training.leader.worlds import Change
from aios_lab.training.spec import End, RankSpec
from aios_lab.wire import Checkpoint, Lost, Rank, Resize, RunMetric

_STEADY = frozenset({"ok", "stopped", "paused", "failed", "killed", "lost"})


class Chronicle:
    """One run's; ``tell`` takes fields of ``wire.RunUpdate``."""

    def __init__(self, tell: Callable[..., None], keep: int) -> None:
        self._tell = tell
        self._keep = keep
        self._ranks: dict[int, Rank] = {}
        self._checkpoints: list[Checkpoint] = []
        self._lost = Lost(steps=0, seconds=0.0)
        self._step = 0
        self._from = 0
        self._still: float | None = None  # when the training stood still

    def begin(self, attempt: int, specs: list[RankSpec], places: tuple[str, ...]) -> None:
        """The ranks of an attempt go, or come up for the first time."""
        self._ranks = {
            spec.rank: Rank(rank=spec.rank, host=spec.host, worker=place, state="starting", pid=None)
            for spec, place in zip(specs, places, strict=True)
        }
        self._from = 0
        self._tell(attempt=attempt, world_size=len(specs), ranks=self._shown())

    def ready(self, rank: int, pid: int) -> None:
        self._change(rank, pid=pid)

    def go(self, pids: Mapping[int, int]) -> None:
        """All ranks train."""
        for rank, one in self._ranks.items():
            self._ranks[rank] = one.model_copy(update={"state": "running", "pid": pids.get(rank, one.pid)})
        self._tell(ranks=self._shown())

    def saving(self, saving: bool) -> None:
        self._change(0, state="saving" if saving else "running")

    def end(self, end: End) -> None:
        one = self._ranks.get(end.rank)
        if one is not None and one.state not in _STEADY:
            self._change(end.rank, state=end.outcome)

    def metrics(self, metrics: list[RunMetric]) -> None:
        if metrics:
            self._step = max(self._step, metrics[-1].step)
        self._tell(metrics=metrics)

    def checkpoint(self, step: int, when: float, size: int) -> None:
        """One more is kept."""
        older = [one for one in self._checkpoints if one.step < step]
        self._checkpoints = [*older, Checkpoint(step=step, time=when, bytes=size)][-self._keep :]
        self._tell(checkpoints=self._checkpoints)

    def still(self, when: float) -> None:
        """No rank trains since then."""
        self._still = self._still or when

    def moves(self) -> None:
        """It trains after all, in the same world."""
        self._still = None

    def resumed(self, step: int) -> None:
        """The new world begins after this step."""
        self._from = step

    def going(self, change: Change, world_size: int, when: float) -> None:
        """The run goes on after a change."""
        redone = max(0, self._step - self._from)
        began, self._still = self._still or when, None
        seconds = max(0.0, when - began)
        self._lost = Lost(steps=self._lost.steps + redone, seconds=self._lost.seconds + seconds)
        self._step = self._from
        resize = Resize(
            time=when,
            step=self._from,
            before=change.before,
            after=world_size,
            why=change.why,
            seconds=seconds,
        )
        self._tell(resizes=[resize], lost=self._lost)

    def _change(self, rank: int, **changes: Any) -> None:
        if rank in self._ranks:
            self._ranks[rank] = self._ranks[rank].model_copy(update=changes)
            self._tell(ranks=self._shown())

    def _shown(self) -> list[Rank]:
        return [self._ranks[rank] for rank in sorted(self._ranks)]
