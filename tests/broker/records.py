"""What a ledger's file says, read as others read it: without its lock."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from aios_lab.broker.ledger import EVENTS, LEASES, TTL, Ledger
from aios_lab.wire import SliceState


def living_leases(ledger: Ledger, now: float) -> list[Any]:
    """Leases whose broker gave a sign of life within the TTL."""
    fresh = LEASES.c.heartbeat >= now - TTL
    return _read(ledger, sa.select(LEASES).where(fresh).order_by(LEASES.c.slice_id, LEASES.c.node))


def events(ledger: Ledger, slice_id: str | None = None) -> list[Any]:
    """The record, oldest first; with an id only that slice's."""
    query = sa.select(EVENTS).order_by(EVENTS.c.id)
    return _read(ledger, query if slice_id is None else query.where(EVENTS.c.slice_id == slice_id))


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
