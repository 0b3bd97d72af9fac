"""The cluster with its nodes and shares, and how the server is."""

from __future__ import annotations

from pydantic import Field

from aios_lab.wire.base import Amounts, Problem, Wire


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
    share: float = Field(description="dominant share held now, 0 to 1")
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
