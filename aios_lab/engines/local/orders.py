"""What travels between the engine and a slice host: one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from aios_lab.allocation.types import Resources
from aios_lab.engines.base import GRACE, Credentials

LONGEST = 1 << 22  # bytes of a line that the engine reads


@dataclass(frozen=True, slots=True)
class Open:
    """The first order: become the host of this slice. ``folder`` is for its workers' files; a worker with all
    that it starts may be so many ``processes``; ``spare`` says that nobody waits for it."""

    slice_id: str
    credentials: Credentials
    folder: str
    processes: int
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker process is told; ``memory`` in bytes, ``devices`` are NVML indices."""

    slice_id: str
    credentials: Credentials
    folder: str
    scheduler: str
    name: str
    threads: int
    memory: int
    devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """One unit as a worker sees it: whole threads, bytes of memory, whole devices."""

    threads: int
    memory: int
    devices: int = 0

    @classmethod
    def of(cls, unit: Resources, *, simulated: bool) -> Shape:
        """What a unit rounds up to; simulated devices are only counted, a worker gets none."""
        devices = 0 if simulated else math.ceil(unit.gpu / 1000)
        return cls(max(1, math.ceil(unit.cpu / 1000)), unit.memory << 20, devices)


@dataclass(frozen=True, slots=True)
class Scale:
    """Be ``workers`` workers of ``shape``; ``devices`` are for those that are new. ``grace`` and ``why`` as
    in ``Engine.scale``."""

    shape: Shape
    workers: int
    devices: tuple[int, ...] = ()
    grace: float = GRACE
    why: str = ""


@dataclass(slots=True)
class Report:
    """A host's state: workers that joined, devices in use, the processes of the slice, and whether tasks run
    or wait."""

    address: str = ""
    workers: int = 0
    devices: list[int] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    computing: bool = False


@dataclass(frozen=True, slots=True)
class Hello:
    """A host's answer to a new engine: who it is, the shape of the size it was told last, and its state."""

    open: Open
    shape: Shape | None
    report: Report


def dump(message: Open | Start | Hello | dict[str, Any]) -> bytes:
    """A dataclass or a plain object as one line."""
    plain = dataclasses.asdict(message) if isinstance(message, Open | Start | Hello) else message
    return json.dumps(plain).encode() + b"\n"


def load_open(line: bytes) -> Open:
    return _open(json.loads(line))


def load_hello(line: bytes) -> Hello | None:
    """None for another message, or what an earlier engine left of one."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if "open" not in data:
        return None
    shape = None if data["shape"] is None else Shape(**data["shape"])
    return Hello(_open(data["open"]), shape, Report(**data["report"]))


def _open(data: dict[str, Any]) -> Open:
    return Open(**data | {"credentials": Credentials(**data["credentials"])})


def load_start(line: bytes) -> Start:
    data = json.loads(line)
    return Start(
        **data | {"credentials": Credentials(**data["credentials"]), "devices": tuple(data["devices"])}
    )


def load_scale(data: dict[str, Any]) -> Scale:
    return Scale(**data | {"shape": Shape(**data["shape"]), "devices": tuple(data["devices"])})
