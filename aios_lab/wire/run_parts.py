"""What a run is made of, and what happened to it: ranks, resizes, checkpoints, measurements, data."""

from __future__ import annotations

from pydantic import Field

from aios_lab.wire.base import Whole, Wire


class Point(Wire):
    step: Whole
    time: float
    value: float


class Rank(Wire):
    """One process of a run, in its present attempt."""

    rank: int
    host: str
    worker: str = Field(description="the address of its Dask worker")
    state: str = Field(description="starting, running, paused, saving, ok, stopped, failed, killed or lost")
    pid: int | None


class Resize(Wire):
    """The run went on with another number of ranks, or with others in place of those that were lost."""

    time: float = Field(description="when it went on")
    step: int = Field(description="the step from which it went on")
    before: int = Field(description="ranks until then")
    after: int = Field(description="ranks from then on")
    why: str = Field(description="a sentence, such as 'The slice shrank.'")
    seconds: float | None = Field(description="for how long it was paused")


class Checkpoint(Wire):
    """A saved state that the run can be resumed from."""

    step: int
    time: float
    bytes: int


class Lost(Wire):
    """What resizes and failures cost a run."""

    steps: int = Field(description="steps that were done again")
    seconds: float = Field(description="seconds in which no rank trained")


class RankUsage(Wire):
    """What one rank and its children used when it was measured."""

    rank: int
    time: float
    cpu: float = Field(description="percent of one CPU thread")
    memory: int = Field(description="bytes")
    gpu: float | None = Field(description="percent; None without an accelerator")
    gpu_memory: int | None = Field(description="bytes; None without an accelerator")
    joules: float | None = Field(
        description="what its accelerator used since the last measurement, and on the first rank of a host "
        "that host's processors; None where nobody measures it"
    )


class RunData(Wire):
    """What a run trained on, for the record."""

    name: str
    digest: str = Field(description="of the content, such as 'sha256:…'")
    source: str = Field(description="where it came from: a path, a URL, or what kind of object it was")
    rows: int | None


class Resumed(Wire):
    """The checkpoint of another run that a run began from."""

    run_id: str
    step: int


class RunLog(Wire):
    """The end of what one rank printed."""

    rank: int
    lines: list[str]
    abridged: bool = Field(description="there is more before these lines")
