"""Runs: as people see them, and as their kernel tells of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from aios_lab.wire.base import Whole, Wire
from aios_lab.wire.run_parts import Checkpoint, Lost, Point, Rank, RankUsage, Resize, Resumed, RunData


class RunState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    RESIZING = "resizing"  # goes on with another number of ranks
    RECOVERING = "recovering"  # goes on from its last checkpoint after a rank was lost
    WAITING = "waiting"  # preempted: goes on by itself once it has workers again
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)


class Run(Wire):
    id: str
    name: str
    slice_id: str
    user: str
    mine: bool
    state: RunState
    strategy: str
    world_size: int
    created: float
    started: float | None = None
    ended: float | None = None
    step: int = 0
    total_steps: int | None = None
    epoch: int | None = None
    total_epochs: int | None = None
    eta: float | None = Field(None, description="seconds left")
    throughput: float | None = Field(None, description="steps a second")
    metrics: dict[str, float] = Field(default_factory=dict, description="the latest value of each")
    series: dict[str, list[Point]] = Field(
        default_factory=dict, description="each metric, at most 500 points"
    )
    error: str = ""
    mlflow_run_id: str | None = None
    has_model: bool = False
    log_tail: list[str] = Field(default_factory=list, description="the last lines of all ranks")
    note: str = Field("", description="what it does just now beside training: loading data, waiting for whom")
    options: dict[str, Any] = Field(
        default_factory=dict, description="of the strategy: precision, accumulate and the like"
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the function")
    attempt: int = Field(0, description="how often its ranks were started anew")
    detached: bool = Field(False, description="it goes on when its kernel or the server ends")
    resumable: bool = Field(False, description="it can go on from a checkpoint")
    min_workers: int | None = Field(
        None, description="what a resumable run holds of its slice; None where it may be preempted as a whole"
    )
    resumed: Resumed | None = None
    ranks: list[Rank] = Field(default_factory=list)
    usage: list[RankUsage] = Field(default_factory=list, description="the latest of each rank")
    joules: float | None = Field(None, description="all that was measured so far")
    resizes: list[Resize] = Field(default_factory=list, description="oldest first")
    checkpoints: list[Checkpoint] = Field(default_factory=list, description="those that are kept, by step")
    lost: Lost = Field(default_factory=lambda: Lost(steps=0, seconds=0.0))
    data: list[RunData] = Field(default_factory=list)
    abridged: bool = Field(
        False, description="as lists give a run that has ended: few points, no log; ask for it by its id"
    )


class RunRequest(Wire):
    """A kernel tells the server that it begins a run."""

    name: str
    strategy: str
    world_size: int
    total_steps: Whole | None = None
    total_epochs: Whole | None = None
    source: str = Field("", description="the cell or script that is trained")
    parameters: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict, description="of the strategy")
    detached: bool = False
    resumed: Resumed | None = None


class RunMetric(Wire):
    """Values at a step. A loss that diverged is one of them, and JSON has no NaN but as a string."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    step: Whole
    time: float
    values: dict[str, float]
    epoch: Whole | None = None


class RunUpdate(Wire):
    """What happened in a run since the last update; the answer says whether to stop it."""

    state: RunState | None = None
    started: float | None = Field(None, description="when its ranks began, by the kernel's clock")
    ended: float | None = None
    metrics: list[RunMetric] = Field(default_factory=list)
    total_steps: Whole | None = None
    total_epochs: Whole | None = None
    logs: list[str] = Field(default_factory=list)
    error: str | None = None
    model: str | None = Field(None, description="folder of the model bundle that the run saved")
    note: str | None = None
    world_size: int | None = None
    attempt: int | None = None
    resumable: bool | None = None
    min_workers: int | None = None
    ranks: list[Rank] | None = Field(None, description="all of the present attempt")
    checkpoints: list[Checkpoint] | None = Field(None, description="all that are kept")
    lost: Lost | None = Field(None, description="all so far")
    data: list[RunData] | None = None
    resizes: list[Resize] = Field(default_factory=list, description="those since the last update")
    usage: list[RankUsage] = Field(default_factory=list, description="measured since the last update")


class RunOrder(Wire):
    """What the server wants of a run: go on, stop with a partial result, or die now."""

    order: Literal["go", "stop", "kill"] = "go"
