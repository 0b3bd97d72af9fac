"""A slice's record and its states: frozen data, pure steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from aios_lab.allocation import Resources
from aios_lab.wire import Priority, SliceState

S = SliceState
NOTHING = Resources()

# From each state to those that may follow; 'expired' may follow any that lives.
FOLLOWS: Mapping[SliceState, frozenset[SliceState]] = {
    S.REQUESTED: frozenset({S.GRANTED, S.DRAINING, S.FAILED, S.RELEASED}),
    S.GRANTED: frozenset({S.ACTIVE, S.DRAINING, S.FAILED}),
    S.ACTIVE: frozenset({S.RESIZING, S.DRAINING, S.FAILED}),
    S.RESIZING: frozenset({S.ACTIVE, S.DRAINING, S.FAILED}),
    S.DRAINING: frozenset({S.REQUESTED, S.RELEASED, S.FAILED}),
    S.FAILED: frozenset({S.REQUESTED, S.DRAINING, S.RELEASED}),
    S.RELEASED: frozenset(),
    S.EXPIRED: frozenset(),
}
UNPINNED: Mapping[str, Any] = {"pins": {}, "least": {}, "detached": (), "orphaned": ""}
ENDED = frozenset({S.RELEASED, S.EXPIRED})


class WrongState(RuntimeError):
    """A step that the states do not allow: a mistake in the broker, never a user's."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a claim belongs to. ``user`` comes from the server, never from the client."""

    user: str
    project: str | None = None
    kernel_id: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is wanted: ``min`` to ``max`` units, each with the resources of ``unit``."""

    unit: Resources
    min: int
    max: int
    project: str
    priority: Priority = "normal"
    duration: float | None = None
    preemptible: bool = True


@dataclass(frozen=True, slots=True)
class Slice:
    """One claim and what it holds.

    ``units`` by node are held: granted, or not yet confirmed to be gone; ``leaving`` of them are being
    retired. ``unit`` is the shape of what is held. ``wanted`` is false while the claim sleeps. ``gone`` says
    that the owner has ended. ``cap`` keeps it from growing past what the engine could not start, until it is
    asked again. ``pins`` gives, for every run on it, the units that it uses, and ``least`` what it needs
    where it can do with fewer; those in ``detached`` go on without the owner. ``orphaned`` says what becomes
    of it after the last of them when the owner has ended meanwhile: 'gone', or 'asleep' where it may come
    back. ``began`` is when it got the first of the units it holds. ``taken`` tells the owner for whom
    everything was taken, until the next grant. ``parked`` says that this was done while it lay idle: it wants
    nothing until it is used.
    ``epoch`` rises by one with every step.
    """

    id: str
    owner: Owner
    claim: Claim
    created: float
    since: float
    state: SliceState = S.REQUESTED
    epoch: int = 0
    wanted: bool = False
    asked: float = 0.0
    gone: bool = False
    cap: int | None = None
    unit: Resources = NOTHING
    units: Mapping[str, int] = field(default_factory=dict)
    leaving: Mapping[str, int] = field(default_factory=dict)
    pins: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    detached: tuple[str, ...] = ()
    orphaned: Literal["", "asleep", "gone"] = ""
    problem: str = ""
    began: float | None = None
    taken: str = ""
    parked: bool = False

    @property
    def asks(self) -> bool:
        """Whether it wants units at present."""
        return self.wanted and not self.parked

    @property
    def held(self) -> int:
        return sum(self.units.values())

    @property
    def target(self) -> int:
        return self.held - sum(self.leaving.values())

    @property
    def reshaping(self) -> bool:
        """Whether its units are to be of another shape than those it holds."""
        return self.held > 0 and self.unit != self.claim.unit

    @property
    def floor(self) -> int:
        """Units that runs need: each its own, since two at a time may be on different workers."""
        return sum(self.least.get(run, units) for run, units in self.pins.items())

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def step(self, now: float, state: SliceState | None = None, **changes: Any) -> Slice:
        """The next epoch of the slice, in another state or with other contents.

        Raises:
            WrongState: the state cannot follow the present one.
        """
        if state is None or state == self.state:
            return replace(self, epoch=self.epoch + 1, **changes)
        if state != S.EXPIRED and state not in FOLLOWS[self.state]:
            raise WrongState(f"Slice {self.id} cannot go from {self.state} to {state}.")
        return replace(self, epoch=self.epoch + 1, state=state, since=now, **changes)

    def grant(self, now: float, more: Mapping[str, int]) -> Slice:
        """Hold more units from now on."""
        units = {node: self.units.get(node, 0) + more.get(node, 0) for node in {*self.units, *more}}
        unit = self.unit if self.held else self.claim.unit
        state = S.RESIZING if self.state in (S.ACTIVE, S.RESIZING) else S.GRANTED
        began = now if self.began is None else self.began
        return self.step(now, state, unit=unit, units=units, began=began, taken="", parked=False)

    def shrink(self, now: float, less: Mapping[str, int], taken: str = "", parked: bool = False) -> Slice:
        """Begin to retire units; they stay held until ``settled``. With all of them ``taken`` says why, and
        ``parked`` whether it lay idle."""
        state = S.RESIZING if sum(less.values()) < self.held else S.DRAINING
        return self.step(now, state, leaving=dict(less), taken=taken, parked=parked)

    def unpinned(self, now: float, run_ids: Collection[str]) -> Slice:
        """These runs are over."""
        pins = {run: units for run, units in self.pins.items() if run not in run_ids}
        least = {run: units for run, units in self.least.items() if run in pins}
        detached = tuple(run for run in self.detached if run in pins)
        return self.step(now, pins=pins, least=least, detached=detached)

    def without_owner(self, now: float, then: Literal["asleep", "gone"]) -> Slice:
        """Its owner has ended: it goes on for its detached runs, with what they use where nobody comes back,
        and afterwards ends."""
        rest = self.unpinned(now, self.pins.keys() - set(self.detached))
        size = max(1, sum(rest.pins.values()))
        claim = replace(rest.claim, min=min(rest.claim.min, max(1, rest.floor)), max=size)
        return replace(rest, orphaned=then, claim=claim if then == "gone" else rest.claim)

    def woken(self, now: float) -> Slice:
        """A parked slice is used again: it asks from now on."""
        return self.step(now, asked=now, parked=False, taken="")

    def settled(self, now: float) -> Slice:
        """The engine has done what was asked: what was leaving is gone."""
        left = {node: n - self.leaving.get(node, 0) for node, n in self.units.items()}
        units = {node: n for node, n in left.items() if n}
        began = self.began if units else None
        return self.step(now, S.ACTIVE if units else S.REQUESTED, units=units, leaving={}, began=began)

    def emptied(self, now: float, state: SliceState, **changes: Any) -> Slice:
        """Everything it held is gone."""
        rest: dict[str, Any] = {"units": {}, "leaving": {}, "began": None, "parked": False, **UNPINNED}
        return self.step(now, state, **rest | changes)

    @staticmethod
    def asked_in(data: Mapping[str, Any]) -> bool:
        """``asks`` of what ``data`` gave; in records of before there was parking, nothing was parked."""
        return bool(data.get("wanted")) and not data.get("parked", False)

    def data(self) -> dict[str, Any]:
        """All of it but the id, the state and the epoch, as JSON can hold it."""
        rest = asdict(self)
        for name in ("id", "state", "epoch"):
            del rest[name]
        return rest

    @classmethod
    def from_data(cls, id: str, state: SliceState, epoch: int, data: Mapping[str, Any]) -> Slice:
        """The slice whose ``data`` this is; what was not known when it was written is as in a new one."""
        known = {one.name for one in fields(cls)}
        rest = {name: value for name, value in data.items() if name in known}
        claim = rest["claim"] | {"unit": Resources(**rest["claim"]["unit"])}
        parts = {"owner": Owner(**rest["owner"]), "claim": Claim(**claim), "unit": Resources(**rest["unit"])}
        rest["detached"] = tuple(rest.get("detached", ()))
        return cls(id=id, state=state, epoch=epoch, **rest | parts)
