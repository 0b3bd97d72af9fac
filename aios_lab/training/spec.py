"""What travels between the kernel, the leader, a rank's supervisor and the rank: plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aios_lab.training.data import Source
from aios_lab.training.keeping import Keeping
from aios_lab.training.strategies.base import StrategyOptions

OrderName = Literal["go", "hold", "settle", "stop", "kill"]
Outcome = Literal["ok", "stopped", "paused", "failed", "killed", "lost"]

STOP_GRACE = 1.0  # seconds from a stop to SIGKILL; with it a whole cancel stays under 2 seconds
STOP_LAG = 0.5  # seconds by which a stop may reach one rank later than another
SAVE_GRACE = 60.0  # seconds instead while rank 0 saves its model, which a second stop does not wait for
RESULT_LIMIT = 512 * 2**20  # bytes of a pickled return value
RANKS = "aios-ranks"  # the topic of Dask events on which supervisors speak to the leader
SLICE = "aios"  # that on which a slice's host says what becomes of its workers
ORDERS = "aios-orders"  # that on which kernels do
RESULT = "result.pickle"  # in the run's folder, on rank 0's host


@dataclass(frozen=True, slots=True)
class Script:
    """A script to run as ``__main__``: its ``text``, its ``path`` when it came from a file, its arguments."""

    text: str
    path: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What every rank runs: a function with its arguments, or a script; and the data that it trains on."""

    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    options: dict[str, Any] | None = None
    wants_context: bool = False
    script: Script | None = None
    data: Source | None = None


@dataclass(frozen=True, slots=True)
class RankSpec:
    """Where and as what one rank runs. ``folder`` is the run's folder on every host."""

    run_id: str
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    nodes: int
    host: str
    strategy: StrategyOptions
    folder: str
    cwd: str
    path: tuple[str, ...]
    sources: dict[str, list[str]]
    seed: int | None
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    attempt: int = 0  # how often the run's world was made anew
    first_world: int = 0  # ranks of attempt 0; world_size where 0
    keeping: Keeping = field(default_factory=Keeping)


@dataclass(frozen=True, slots=True)
class End:
    """How a rank ended, and when (seconds since the epoch). ``code`` is its exit code, negative for a signal,
    None when nobody saw it."""

    rank: int
    host: str
    outcome: Outcome
    time: float
    code: int | None = None
    error: str = ""
    traceback: str = ""
    has_result: bool = False


@dataclass(frozen=True, slots=True)
class Lead:
    """A run as the kernel hands it to the leader. ``owner`` is the id of the kernel's Dask client, with which
    a run that is not ``detached`` ends; ``workers`` are the addresses for ``specs``, in their order. It takes
    ``most`` workers, or all where None."""

    run_id: str
    owner: str
    detached: bool
    workers: tuple[str, ...]
    specs: tuple[RankSpec, ...]
    work: bytes
    most: int | None = None
