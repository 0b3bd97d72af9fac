"""What a run over its attempts is made of: worlds, the change from one to the next, what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aios_lab.training.leader.gang import Gang
from aios_lab.training.spec import OrderName


@dataclass(frozen=True, slots=True)
class Start:
    """Begin the ranks of a new attempt, one at each of these workers."""

    attempt: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Give an order to the ranks of an attempt: to all, or to one."""

    attempt: int
    order: OrderName
    values: dict[str, Any] = field(default_factory=dict)
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Give back the run's hold on all workers but these."""

    places: frozenset[str]


Act = Start | Send | Leave


@dataclass
class World:
    """One attempt."""

    attempt: int
    places: tuple[str, ...]
    gang: Gang
    gone: bool = False  # its ranks were told to go
    due: float = float("inf")  # when all of them must be ready


@dataclass
class Change:
    """From one world to the next: for the record, and for what it costs."""

    why: str
    before: int
    planned: bool
    since: float | None = None  # when training stopped
