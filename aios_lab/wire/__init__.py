"""The wire types: the one source from which OpenAPI and the TypeScript types are made.

Amounts people read: CPU threads, bytes, accelerators. Times are seconds since the epoch.
"""

from aios_lab.wire.base import Amounts, Problem, Wire
from aios_lab.wire.cluster import Accelerator, Cluster, NodeView, PrincipalShare, Status
from aios_lab.wire.models import (
    CompressReport,
    CompressRequest,
    Job,
    JobState,
    LayerReport,
    Measure,
    Model,
    ModelVersion,
    RegisterRequest,
)
from aios_lab.wire.replays import Policies, Replay, ReplayFigures, ReplayRequest, ReplayState
from aios_lab.wire.runs import Point, Run, RunMetric, RunOrder, RunRequest, RunState, RunUpdate
from aios_lab.wire.slices import (
    ClaimRequest,
    Connection,
    Dashboard,
    Forecast,
    Giver,
    LongRun,
    Priority,
    Slice,
    SliceState,
    WhatIf,
)
from aios_lab.wire.stream import Frame, Subscribe

__all__ = [
    "Accelerator",
    "Amounts",
    "ClaimRequest",
    "Cluster",
    "CompressReport",
    "CompressRequest",
    "Connection",
    "Dashboard",
    "Forecast",
    "Frame",
    "Giver",
    "Job",
    "JobState",
    "LayerReport",
    "LongRun",
    "Measure",
    "Model",
    "ModelVersion",
    "NodeView",
    "Point",
    "Policies",
    "PrincipalShare",
    "Priority",
    "Problem",
    "RegisterRequest",
    "Replay",
    "ReplayFigures",
    "ReplayRequest",
    "ReplayState",
    "Run",
    "RunMetric",
    "RunOrder",
    "RunRequest",
    "RunState",
    "RunUpdate",
    "Slice",
    "SliceState",
    "Status",
    "Subscribe",
    "WhatIf",
    "Wire",
]
