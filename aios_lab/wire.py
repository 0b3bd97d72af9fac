"""The wire types: the one source from which OpenAPI and the TypeScript types are made.

Amounts people read: CPU threads, bytes, accelerators. Times are seconds since the epoch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Wire):
    """The body of every 4xx answer."""

    message: str = Field(description="What was asked and why it cannot be done.")
    reason: str = Field(description="A short stable word, such as 'too_large'.")
    hint: str = Field(description="What to do about it.")


class Amounts(Wire):
    cpus: float = 0
    memory: int = Field(0, description="bytes")
    gpus: float = 0
    gpu_memory: int = Field(0, description="bytes")


Priority = Literal["low", "normal", "high"]


class ClaimRequest(Wire):
    """What a kernel asks for. What is left out keeps its present or default value."""

    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="at most so many workers"
    )
    min_workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="start only with so many; 1 when left out"
    )
    cpus: Annotated[float, Field(gt=0)] | None = Field(None, description="CPU threads a worker, 0.1 or more")
    memory: str | int | None = Field(
        None, description="memory a worker: '2GB', '512MiB' or bytes; 128 MiB or more"
    )
    gpus: Annotated[float, Field(ge=0)] | None = Field(None, description="accelerators a worker")
    priority: Priority | None = None
    project: str | None = None
    duration: Annotated[float, Field(gt=0)] | None = Field(None, description="expected seconds of use")
    preemptible: bool | None = None


class SliceState(StrEnum):
    REQUESTED = "requested"
    GRANTED = "granted"
    ACTIVE = "active"
    RESIZING = "resizing"
    DRAINING = "draining"
    RELEASED = "released"
    EXPIRED = "expired"
    FAILED = "failed"


class Slice(Wire):
    """One claim and what it was granted. Without ``mine`` only what others may see is filled in."""

    id: str
    state: SliceState
    dormant: bool = Field(description="asked for by nobody yet: it holds nothing until first used")
    user: str
    project: str
    name: str = Field(description="the notebook's path, or what the owner is called")
    kernel_id: str | None
    mine: bool
    unit: Amounts
    workers: int = Field(description="workers running now")
    target: int = Field(description="workers granted")
    min_workers: int
    max_workers: int
    priority: Priority
    reason: str = Field(description="why it holds less than it asked for; empty when it has all")
    problem: str = Field(
        "", description="what went wrong with the request or the slice; empty when nothing did"
    )
    created: float
    since: float = Field(description="when the present state began")
    cpu_percent: float | None = Field(None, description="use of its CPU threads, 0 to 100")
    memory_used: int | None = None
    busy: bool = Field(False, description="a run is training on it")
    simulated: bool = Field(False, description="the cluster's inventory is declared, not real")


class Connection(Wire):
    """How a slice's own kernel reaches its Dask scheduler. PEM texts, never files."""

    address: str
    ca: str
    cert: str
    key: str
    workers: int


class LongRun(Wire):
    """What queueing theory says of the waits of such claims in the long run (M/M/c), from the past alone."""

    servers: int = Field(description="how many such claims the cluster serves at a time")
    load: float = Field(description="of each of them; they cannot keep up from 1 on")
    mean: float | None = Field(description="seconds of waiting on average; none where they cannot keep up")
    late: float | None = Field(description="seconds that nine of ten do not exceed")


class Forecast(Wire):
    """When a slice holds ``workers``: the ones it starts with, or the next one where it has some.

    Of ten times it is once before ``early`` and once after ``late``; as often before ``start`` as after it. A
    time is none where that is more than a month away, or nobody can tell.
    """

    slice_id: str
    made: float
    state: Literal["now", "expected", "never", "unknown"]
    workers: int
    early: float | None
    start: float | None
    late: float | None
    replays: int = Field(description="how many ways it may go on were looked at")
    basis: str = Field(description="what it rests on, or why there is none")
    reason: str = Field(description="what is missing, who holds it, who is ahead, what would start now")
    long_run: LongRun | None


class Giver(Wire):
    """Somebody who would give workers back."""

    slice_id: str
    user: str
    name: str
    workers: int


class WhatIf(Wire):
    """What another request would bring. Nothing was asked for."""

    slice_id: str
    unit: Amounts
    min_workers: int
    max_workers: int
    at_once: int = Field(description="workers that would start in room that is free")
    soon: int = Field(description="workers that are there once others have given back")
    gives: list[Giver] = Field(description="who would give back for it, beyond what they give anyway")
    before: Forecast | None = Field(description="without the change; none while nothing is asked for")
    after: Forecast


class Accelerator(Wire):
    index: int
    name: str
    uuid: str
    memory: int
    memory_used: int | None = None
    utilization: float | None = Field(None, description="percent")
    power: float | None = Field(None, description="watts")


class NodeView(Wire):
    name: str
    capacity: Amounts
    used: Amounts
    accelerators: list[Accelerator]


class PrincipalShare(Wire):
    path: str
    weight: int
    share: float = Field(description="weighted dominant share held now, 0 to 1")
    recent: float = Field(0, description="dominant share held on average lately, older use counting less")
    quota: Amounts | None
    limit: Amounts | None


class Cluster(Wire):
    simulated: bool
    policy: str = Field("fair_share", description="by which rule claims are served")
    half_life: int | None = Field(
        None, description="seconds after which past use counts half; none where it does not count"
    )
    nodes: list[NodeView]
    capacity: Amounts
    used: Amounts
    principals: list[PrincipalShare]


class Status(Wire):
    version: str
    user: str
    ready: bool
    simulated: bool
    problems: list[Problem] = Field(description="what an administrator should mend, in plain words")


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


class ModelVersion(Wire):
    name: str
    version: int
    digest: str
    parent: int | None = None
    run_id: str | None = None
    user: str = ""
    created: float
    bytes: int
    parameters: int
    metrics: dict[str, float] = Field(default_factory=dict)
    method: str | None = Field(None, description="how it was compressed; none for an original")
    evaluable: bool = Field(description="it carries held-out data, so a compressed child can be measured")


class Model(Wire):
    name: str
    versions: list[ModelVersion] = Field(description="newest first")


class RegisterRequest(Wire):
    run_id: str
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]


class CompressRequest(Wire):
    method: Literal["low_rank"] = "low_rank"
    energy: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="kept share of the squared singular values"
    )
    ratio: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="kept share of each layer's parameters"
    )


class LayerReport(Wire):
    layer: str
    kind: str
    rank: int | None = None
    full_rank: int
    before: int
    after: int
    decision: str


class Measure(Wire):
    bytes: int
    parameters: int
    metrics: dict[str, float]


class CompressReport(Wire):
    version: ModelVersion
    before: Measure
    after: Measure
    layers: list[LayerReport]


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Job(Wire):
    """Work of some seconds that the server does for a user, such as compressing a model."""

    id: str
    kind: str
    title: str
    state: JobState
    progress: float = Field(0, description="0 to 1")
    note: str = ""
    problem: Problem | None = None
    report: CompressReport | None = None


class Policies(Wire):
    names: list[str] = Field(description="all there are, the default first")
    in_force: str


def _one_to_six(names: list[str]) -> list[str]:
    """Checked here and not in the schema, out of which every length would become a type of TypeScript."""
    if not 1 <= len(names) <= 6:
        raise ValueError("name one policy to six")
    return names


class ReplayRequest(Wire):
    """Play what was recorded of the last days again, under other policies."""

    days: Annotated[float, Field(gt=0, le=366)] = 7
    policies: Annotated[list[str], AfterValidator(_one_to_six)] = Field(description="one to six names")


class ReplayState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReplayFigures(Wire):
    """What came of the uses under one policy. Times in seconds, parts and shares from 0 to 1."""

    policy: str = Field(description="'as it was' for what really happened")
    past: bool
    uses: int
    wait_mean: float
    wait_p50: float
    wait_p99: float
    slowdown_mean: float = Field(description="bounded at 10 s, as slowdown_p50")
    slowdown_p50: float
    busiest: str = Field(description="the resource of which most was in use")
    used: float = Field(description="the part of it that was in use")
    jain: float = Field(description="Jain's index over users: 1 is fair")
    waits: list[float] = Field(description="the least wait, every percentile, and the greatest")
    times: list[float] = Field(description="where the intervals of the next three begin, and their end")
    in_use: list[float] = Field(description="of the busiest resource, by interval")
    mine: list[float] = Field(description="the caller's dominant share, by interval")
    others: list[float] = Field(description="the sum of everybody else's")


class Replay(Wire):
    """What would have happened: ``figures`` has a line for what did, then one a policy."""

    id: str
    state: ReplayState
    progress: float = Field(0, description="0 to 1")
    days: float
    policies: list[str]
    began: float
    ended: float
    uses: int = Field(0, description="times that a claim got units and gave them back")
    in_force: list[str] = Field([], description="the policies under which it happened")
    notes: list[str] = []
    figures: list[ReplayFigures] = []
    problem: Problem | None = Field(
        None, description="why there are no figures; 'too_little' is no fault of anybody"
    )


class Frame(Wire):
    """One message of the websocket, server to client. ``seq`` rises by one a topic."""

    topic: str
    seq: int
    data: Any


class Subscribe(Wire):
    """The client's message: all topics it wants: 'status', 'cluster', 'slices', 'runs', 'models', 'jobs'."""

    topics: list[str]
