"""Registered models, and the jobs that compress them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from aios_lab.wire.base import Problem, Wire


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
