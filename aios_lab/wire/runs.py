"""Runs: as people see them, and as their kernel tells of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from aios_lab.wire.base import Wire


class RunState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Point(Wire):
    step: int
    time: float
    value: float


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
    abridged: bool = Field(
        False, description="as lists give a run that has ended: few points, no log; ask for it by its id"
    )


class RunRequest(Wire):
    """A kernel tells the server that it begins a run."""

    name: str
    strategy: str
    world_size: int
    total_steps: int | None = None
    total_epochs: int | None = None
    source: str = Field("", description="the cell or script that is trained")
    parameters: dict[str, Any] = Field(default_factory=dict)


class RunMetric(Wire):
    """Values at a step. A loss that diverged is one of them, and JSON has no NaN but as a string."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    step: int
    time: float
    values: dict[str, float]
    epoch: int | None = None


class RunUpdate(Wire):
    """What happened in a run since the last update; the answer says whether to stop it."""

    state: RunState | None = None
    started: float | None = Field(None, description="when its ranks began, by the kernel's clock")
    ended: float | None = None
    metrics: list[RunMetric] = Field(default_factory=list)
    total_steps: int | None = None
    total_epochs: int | None = None
    logs: list[str] = Field(default_factory=list)
    error: str | None = None
    model: str | None = Field(None, description="folder of the model bundle that the run saved")


class RunOrder(Wire):
    """What the server wants of a run: go on, stop with a partial result, or die now."""

    order: Literal["go", "stop", "kill"] = "go"
