"""The wire types: the one source from which OpenAPI and the TypeScript types are made.

Amounts people read: CPU threads, bytes, accelerators. Times are seconds since the epoch.
"""

from aios_lab.wire.base import Amounts, Problem, Whole, Wire
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
from aios_lab.wire.run_parts import (
    Checkpoint,
    Lost,
    Point,
    Rank,
    RankUsage,
    Resize,
    Resumed,
    RunData,
    RunLog,
)
from aios_lab.wire.runs import Run, RunMetric, RunOrder, RunRequest, RunState, RunUpdate
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
    "Checkpoint",
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
    "Lost",
    "Measure",
    "Model",
    "ModelVersion",
    "NodeView",
    "Point",
    "Policies",
    "PrincipalShare",
    "Priority",
    "Problem",
    "Rank",
    "RankUsage",
    "RegisterRequest",
    "Replay",
    "ReplayFigures",
    "ReplayRequest",
    "ReplayState",
    "Resize",
    "Resumed",
    "Run",
    "RunData",
    "RunLog",
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
    "Whole",
    "Wire",
]
