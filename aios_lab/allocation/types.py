"""The frozen data the allocation core works on.

Every amount is an integer: milli-CPU, MiB, milli-GPU, MiB of accelerator memory. Integers make plans
exact, comparable and replayable byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RESOURCES = ("cpu", "memory", "gpu", "gpu_memory")

# The amounts of a ``Resources`` in this order; inner loops work on these.
Vector = tuple[int, int, int, int]

# An amount no machine has: what a ceiling says of a resource that it leaves open.
UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Resources:
    """A vector of amounts: milli-CPU, MiB of memory, milli-GPU, MiB of accelerator memory."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    gpu_memory: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu + other.cpu,
            self.memory + other.memory,
            self.gpu + other.gpu,
            self.gpu_memory + other.gpu_memory,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu - other.cpu,
            self.memory - other.memory,
            self.gpu - other.gpu,
            self.gpu_memory - other.gpu_memory,
        )

    def __mul__(self, units: int) -> Resources:
        return Resources(self.cpu * units, self.memory * units, self.gpu * units, self.gpu_memory * units)

    @property
    def vector(self) -> Vector:
        return self.cpu, self.memory, self.gpu, self.gpu_memory

    def fits_in(self, free: Resources) -> bool:
        return (
            self.cpu <= free.cpu
            and self.memory <= free.memory
            and self.gpu <= free.gpu
            and self.gpu_memory <= free.gpu_memory
        )

    def items(self) -> tuple[tuple[str, int], ...]:
        return (
            ("cpu", self.cpu),
            ("memory", self.memory),
            ("gpu", self.gpu),
            ("gpu_memory", self.gpu_memory),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the inventory and all that slices may use of it."""

    name: str
    capacity: Resources


@dataclass(frozen=True, slots=True)
class Principal:
    """A node of the quota tree: cluster → project → user.

    ``path`` names it ("cluster/vision/ada"); its parent is the path without the last part. ``quota`` is
    guaranteed, ``weight`` shares out what is left, ``limit`` is a ceiling, higher ``priority`` goes first.
    """

    path: str
    weight: int = 100
    quota: Resources = Resources()
    limit: Resources | None = None
    priority: int = 0

    @property
    def parent(self) -> str | None:
        head, _, _ = self.path.rpartition("/")
        return head or None


@dataclass(frozen=True, slots=True)
class Demand:
    """What one claim wants now: between ``min`` and ``max`` units, all of one shape.

    ``floor`` units are not to be taken away at present (a busy run holds them); ``name`` is how people
    know the claim. ``submitted`` and ``started`` (None before it holds anything) are in seconds since the
    epoch; ``duration`` is how many seconds its owner says it will hold units.
    """

    claim: str
    principal: str
    unit: Resources
    min: int
    max: int
    priority: int = 0
    preemptible: bool = True
    submitted: float = 0.0
    duration: float | None = None
    floor: int = 0
    name: str = ""
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Units a claim holds on a node; they stay held until the engine confirms that they are gone."""

    claim: str
    node: str
    units: int


@dataclass(frozen=True, slots=True)
class Placement:
    """On which of the nodes with room a unit goes: by one of ``placement.RULES``.

    ``expected`` is what "fgd" expects: units, and how many of each; the others need none.
    """

    rule: str = "first"
    expected: tuple[tuple[Resources, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision may depend on. ``now`` is in seconds since the epoch."""

    nodes: tuple[Node, ...]
    principals: tuple[Principal, ...]
    demands: tuple[Demand, ...]
    leases: tuple[Lease, ...] = ()
    now: float = 0.0
    placement: Placement = Placement()


@dataclass(frozen=True, slots=True)
class Change:
    """``units`` (positive) to add to, or take from, a claim on a node."""

    claim: str
    node: str
    units: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. ``reasons`` has one sentence for every claim that holds less than it asked for.

    ``note`` says why fair share decided in place of the policy that was chosen; empty where that decided.
    """

    grants: tuple[Change, ...] = ()
    shrinks: tuple[Change, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
