"""What would have happened under other policies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from aios_lab.wire.base import Problem, Wire


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
    notes: list[str] = Field([])
    figures: list[ReplayFigures] = Field([])
    problem: Problem | None = Field(
        None, description="why there are no figures; 'too_little' is no fault of anybody"
    )
