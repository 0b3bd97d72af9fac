"""What a ledger's file says, read as others read it: without its lock."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa

from aios_lab.allocation import decide
from aios_lab.broker.ledger import CLAIMS, EVENTS, LEASES, TTL, Ledger
from aios_lab.broker.slices import Slice
from aios_lab.broker.snapshot import plan_record, recorded_snapshot
from aios_lab.wire import SliceState


def living_leases(ledger: Ledger, now: float) -> list[Any]:
    """Leases whose broker gave a sign of life within the TTL."""
    fresh = LEASES.c.heartbeat >= now - TTL
    return _read(ledger, sa.select(LEASES).where(fresh).order_by(LEASES.c.slice_id, LEASES.c.node))


def events(ledger: Ledger, slice_id: str | None = None) -> list[Any]:
    """The record, oldest first; with an id only that slice's."""
    query = sa.select(EVENTS).order_by(EVENTS.c.id)
    return _read(ledger, query if slice_id is None else query.where(EVENTS.c.slice_id == slice_id))


_CONTENTS = {one.name for one in fields(Slice)} - {"id", "state", "epoch"}


@dataclass(frozen=True)
class Told:
    """A claim. Of one whose server died there is only its end to be read: not all of its contents are then
    the ``whole`` of what the ledger shows."""

    epoch: int
    state: str
    contents: Mapping[str, Any]
    whole: bool = True


@dataclass
class State:
    """Claims by slice; units that are leased, by slice and node."""

    claims: dict[str, Told] = field(default_factory=dict)
    leases: dict[tuple[str, str], int] = field(default_factory=dict)


def steps(ledger: Ledger) -> Iterator[tuple[Any, State]]:
    """Every line of the record, and the state that it leads to: one object, which changes."""
    state = State()
    for event in events(ledger):
        if event.slice_id is not None:
            one = state.claims[event.slice_id] = _next(event, state.claims.get(event.slice_id))
            state.leases = {key: units for key, units in state.leases.items() if key[0] != event.slice_id}
            held = one.contents["units"].items()
            state.leases |= {(event.slice_id, node): units for node, units in held if units}
        yield event, state


def _next(event: Any, before: Told | None) -> Told:
    if "state" in event.data:
        contents = {name: part for name, part in event.data.items() if name in _CONTENTS}
        return Told(event.epoch, event.data["state"], contents)
    assert before is not None
    state = SliceState.EXPIRED if event.kind == SliceState.EXPIRED else SliceState.REQUESTED
    return Told(event.epoch, state.value, {**before.contents, "units": {}, "wanted": False}, whole=False)


def agree(ledger: Ledger) -> dict[str, str]:
    """The record leads to what the ledger's tables show; the states of all its claims."""
    claims = {one.slice_id: one for one in _read(ledger, sa.select(CLAIMS))}
    leases = {(one.slice_id, one.node): one.units for one in _read(ledger, sa.select(LEASES))}
    _, told = deque(steps(ledger), maxlen=1)[0]
    assert told.leases == leases
    assert told.claims.keys() == claims.keys()
    for slice_id, one in told.claims.items():
        kept = claims[slice_id]
        assert (one.epoch, one.state) == (kept.epoch, kept.state)
        assert not one.whole or one.contents == kept.data
    return {slice_id: one.state for slice_id, one in told.claims.items()}


def decide_again(ledger: Ledger) -> int:
    """Decide again on all that the ledger recorded, and compare byte for byte; says how many decisions."""
    plans = [event.data for event in events(ledger) if event.kind == "plan"]
    for record in plans:
        snapshot = recorded_snapshot(record)
        plan = decide(snapshot, record["policy"])
        assert json.dumps(plan_record(snapshot, record["policy"], plan)) == json.dumps(record)
    return len(plans)


def expire(ledger: Ledger, now: float) -> list[str]:
    """End whatever the ledger shows as living, as a broker does whose predecessor died; the slice ids."""
    ended = [one.emptied(now, SliceState.EXPIRED) for one in ledger.living()]
    ledger.bury(ended, now, "The server that held it ended.")
    return [one.id for one in ended]


def _read(ledger: Ledger, query: sa.Select[Any]) -> list[Any]:
    engine = sa.create_engine(f"sqlite:///file:{ledger.path.absolute()}?mode=ro&uri=true")
    with engine.connect() as connection:
        rows = list(connection.execute(query))
    engine.dispose()
    return rows
