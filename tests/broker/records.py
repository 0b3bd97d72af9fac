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


def living_leases(ledger: Ledger, now: float) -> list[Any]:
    """Leases whose broker gave a sign of life within the TTL."""
    fresh = LEASES.c.heartbeat >= now - TTL
    return _read(ledger, sa.select(LEASES).where(fresh).order_by(LEASES.c.slice_id, LEASES.c.node))


def events(ledger: Ledger, slice_id: str | None = None) -> list[Any]:
    """The record, oldest first; with an id only that slice's."""
    query = sa.select(EVENTS).order_by(EVENTS.c.id)
    return _read(ledger, query if slice_id is None else query.where(EVENTS.c.slice_id == slice_id))


_CONTENTS = {one.name for one in fields(Slice)} - {"id", "state", "epoch"}


@dataclass
class State:
    """Claims by slice: epoch, state and contents; units that are leased, by slice and node."""

    claims: dict[str, tuple[int, str, Mapping[str, Any]]] = field(default_factory=dict)
    leases: dict[tuple[str, str], int] = field(default_factory=dict)


def steps(ledger: Ledger) -> Iterator[tuple[Any, State]]:
    """Every line of the record, and the state that it leads to: one object, which changes."""
    state = State()
    for event in events(ledger):
        if event.slice_id is not None:
            _, _, data = state.claims.get(event.slice_id, (0, "", {}))
            now = {name: part for name, part in event.data.items() if name in _CONTENTS}
            name = event.data.get("state", event.kind)  # of one whose server died there is only the end
            state.claims[event.slice_id] = event.epoch, name, {**data, **now}
            state.leases = {key: units for key, units in state.leases.items() if key[0] != event.slice_id}
            held = now.get("units", {}).items()
            state.leases |= {(event.slice_id, node): units for node, units in held if units}
        yield event, state


def told(ledger: Ledger) -> State:
    """The state that the record leads to."""
    return deque(steps(ledger), maxlen=1)[0][1]


def kept(ledger: Ledger) -> State:
    """The state that the ledger's tables show."""
    claims = {one.slice_id: (one.epoch, one.state, one.data) for one in _read(ledger, sa.select(CLAIMS))}
    leases = {(one.slice_id, one.node): one.units for one in _read(ledger, sa.select(LEASES))}
    return State(claims, leases)


def decide_again(ledger: Ledger) -> int:
    """Decide again on all that the ledger recorded, and compare byte for byte; says how many decisions."""
    plans = [event.data for event in events(ledger) if event.kind == "plan"]
    for record in plans:
        snapshot = recorded_snapshot(record)
        plan = decide(snapshot, record["policy"])
        assert json.dumps(plan_record(snapshot, record["policy"], plan)) == json.dumps(record)
    return len(plans)


def _read(ledger: Ledger, query: sa.Select[Any]) -> list[Any]:
    engine = sa.create_engine(f"sqlite:///file:{ledger.path.absolute()}?mode=ro&uri=true")
    with engine.connect() as connection:
        rows = list(connection.execute(query))
    engine.dispose()
    return rows
