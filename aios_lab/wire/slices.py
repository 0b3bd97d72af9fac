"""Claims, slices, and when they will hold more."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from aios_lab.wire.base import Amounts, Wire

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
    parked: bool = Field(
        False, description="it did nothing and its workers were lent: they come back when it is used"
    )
    simulated: bool = Field(False, description="the cluster's inventory is declared, not real")
    dashboard: str = Field(
        "", description="path of its Dask dashboard below the server's base URL; empty while it has none"
    )
    kernel_gpu_memory: int = Field(
        0, description="bytes of accelerators' memory that its kernel itself holds, beside its workers"
    )
    asked_to_free: str = Field(
        "", description="who asks its owner to free that memory, and how; empty when nobody does"
    )


class Dashboard(Wire):
    """Where the Dask dashboard of a slice listens, on the machine of its server, which relays it."""

    socket: str = Field(description="a Unix socket that only the server's own user can open")


class Connection(Wire):
    """How a slice's own kernel reaches its Dask scheduler. PEM texts, never files."""

    address: str
    ca: str
    cert: str
    key: str
    workers: int
    devices: list[int] = Field([], description="its accelerators, by NVML's numbers; none that are simulated")


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
    grows: bool = Field(description="whether it has workers, and this is about the next one")
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
