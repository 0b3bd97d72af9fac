"""The frozen data the allocation core works on.

Every amount is an integer: milli-CPU, MiB, milli-GPU, MiB of accelerator memory. Integers make plans
exact, comparable and replayable byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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
class Usage:
    """What a principal, with all below it, has used lately.

    ``amount`` is in amounts times seconds, such as milli-CPU-seconds; every second that was used counts half
    for each half-life that has passed since (``Sharing.half_life``).
    """

    principal: str
    amount: Resources


Order = Literal["share", "fair_tree"]


@dataclass(frozen=True, slots=True)
class Sharing:
    """The parameters of fair share; as they are here, past usage counts for nothing and nobody is guarded.

    ``order`` says who starts first: "share", the lowest weighted share, or "fair_tree", the lowest weighted
    usage, level by level. ``half_life`` is that of usage, in seconds; ``k``, in thousandths, is how strongly
    usage counts against weight (KAI's k). ``hysteresis``, in thousandths of the capacity, is by how much less
    the usage of a principal counts for the units that it holds already. A claim keeps its minimum for
    ``guard`` seconds after it began, and is charged ``charge`` seconds of what it begins with at once.
    """

    order: Order = "share"
    half_life: int = 0
    k: int = 0
    hysteresis: int = 0
    guard: int = 0
    charge: int = 0

    @property
    def window(self) -> int:
        """Seconds that usage adds up over: who always held x has used x · window. 0 without a half-life."""
        return round(self.half_life / math.log(2)) if self.half_life else 0


# What a broker and a simulator start from. Two days: a busy evening is forgotten within a week. Half of KAI's
# k: who had everything for days keeps a quarter when a newcomer wants all of it. A twentieth of the capacity
# as hysteresis: two who want one GPU for days change places every seven hours or so.
DEFAULT_SHARING = Sharing(half_life=2 * 86_400, k=500, hysteresis=50, guard=60, charge=60)


@dataclass(frozen=True, slots=True)
class Demand:
    """What one claim wants now: between ``min`` and ``max`` units, all of one shape.

    ``floor`` units are not to be taken away at present (a busy run holds them); ``name`` is how people
    know the claim; ``idle`` says that its owner does nothing with it at present. ``submitted`` and
    ``started`` (None before it holds anything) are in seconds since the epoch; ``duration`` is how many
    seconds its owner says it will hold units.
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
    idle: bool = False


class Lease(NamedTuple):
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
    """All that a decision may depend on. ``now`` is in seconds since the epoch; a principal without ``usage``
    has used nothing."""

    nodes: tuple[Node, ...]
    principals: tuple[Principal, ...]
    demands: tuple[Demand, ...]
    leases: tuple[Lease, ...] = ()
    now: float = 0.0
    placement: Placement = Placement()
    usage: tuple[Usage, ...] = ()
    sharing: Sharing = Sharing()


class Change(NamedTuple):
    """``units`` (positive) to add to, or take from, a claim on a node."""

    claim: str
    node: str
    units: int


@dataclass(frozen=True, slots=True)
class Preemption:
    """A claim whose whole lease is taken, though it wants to keep it; ``by`` are the claims that need the
    room, in the order in which they asked (none where a limit or a node has become smaller)."""

    claim: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. ``shrinks`` has all units that go, also those of claims that ``preemptions`` names;
    ``reasons`` has one sentence for every claim that holds less than it asked for.

    ``note`` says why fair share decided in place of the policy that was chosen; empty where that decided.
    """

    grants: tuple[Change, ...] = ()
    shrinks: tuple[Change, ...] = ()
    preemptions: tuple[Preemption, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
