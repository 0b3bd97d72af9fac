"""The ledger: an append-only record of what was decided and done, in SQLite.

``events`` is the record itself; ``claims``, ``leases`` and ``usage`` show its newest state. A lease without a
heartbeat for ``TTL`` seconds has expired: its broker is dead, and its engine's processes with it, or another
broker is about to take them over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from aios_lab.allocation.types import RESOURCES
from aios_lab.allocation.usage import Balance
from aios_lab.broker.errors import Refused
from aios_lab.broker.locks import Held, LockFile
from aios_lab.broker.slices import ENDED, Slice
from aios_lab.wire import SliceState

TTL = 10.0
PATIENCE = 0.25  # seconds for which a write waits, with all of the server, while another process writes

NO_ROOM = "Make room on its disk, or give the server's user the right to write there, and try again."
LOCKED = "Another program holds it, such as a backup: try again when that has ended, or end it."

_META = sa.MetaData()
EVENTS = sa.Table(
    "events",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("slice_id", sa.String, index=True),
    sa.Column("epoch", sa.Integer),
    sa.Column("data", sa.JSON, nullable=False),
)
CLAIMS = sa.Table(
    "claims",
    _META,
    sa.Column("slice_id", sa.String, primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("user", sa.String, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)
LEASES = sa.Table(
    "leases",
    _META,
    sa.Column("slice_id", sa.String, primary_key=True),
    sa.Column("node", sa.String, primary_key=True),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("heartbeat", sa.Float, nullable=False),
)
# What principals used lately: moving averages, in the core's amounts (milli-CPU, MiB, …), as of a time.
USAGE = sa.Table(
    "usage",
    _META,
    sa.Column("principal", sa.String, primary_key=True),
    sa.Column("time", sa.Float, nullable=False),
    *(sa.Column(resource, sa.Float, nullable=False) for resource in RESOURCES),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record. With a slice, its claim and leases become what the slice shows."""

    kind: str
    slice: Slice | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """One server's ledger at ``path``; ``open`` it before use. Every write is one short transaction.

    While another process keeps it locked, only heartbeats wait for it: all else would, one after the other,
    and hold up the server.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = LockFile(self.path.with_name(self.path.name + ".lock"))
        self._db: sa.Engine | None = None
        self._patience = self._waits = PATIENCE  # how long the next write waits, and how long SQLite does now

    def open(self) -> None:
        """Lock the ledger for this process and make its tables.

        Raises:
            Refused: 409 'ledger_in_use' when another server has it; 409 'ledger_unavailable' when it
                cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.take()
        except Held as held:
            raise Refused(
                409,
                f"The ledger {self.path} is in use by another Jupyter server (process {held.by}).",
                "ledger_in_use",
                "Stop that server, or start this one with a data_dir and a ledger of its own.",
            ) from None
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from error
        # One connection, used from one thread at a time: the server's loop.
        options: dict[str, Any] = {"check_same_thread": False, "timeout": PATIENCE}
        self._db = sa.create_engine(f"sqlite:///{self.path}", poolclass=StaticPool, connect_args=options)
        sa.event.listen(self._db, "connect", _pragmas)
        try:
            with self._writing() as connection:
                _META.create_all(connection)
        except Refused:
            self.close()
            raise

    def close(self) -> None:
        if self._db is not None:
            self._db.dispose()
            self._db = None
        self._lock.free()

    def write(self, entries: Sequence[Entry], now: float) -> None:
        """Append entries, all or none.

        Raises:
            Refused: 409 'ledger_unavailable', nothing was written; 409 'ledger_conflict' when a slice's
                epoch does not follow the one recorded.
        """
        if not entries:
            return
        with self._writing() as connection:
            for entry in entries:
                self._append(connection, entry, now)

    def heartbeat(self, now: float, balances: Sequence[Balance] = ()) -> None:
        """All leases of this broker live, and these principals have used so much by now."""
        rows = [
            {"principal": one.principal, "time": one.time, **dict(zip(RESOURCES, one.average, strict=True))}
            for one in balances
        ]
        with self._writing(PATIENCE) as connection:
            connection.execute(sa.update(LEASES).values(heartbeat=now))
            if rows:
                names = [row["principal"] for row in rows]
                connection.execute(sa.delete(USAGE).where(USAGE.c.principal.in_(names)))
                connection.execute(sa.insert(USAGE), rows)

    def balances(self) -> list[Balance]:
        """What principals had used at the last heartbeat that knew of them."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(USAGE).order_by(USAGE.c.principal)).all()
        return [Balance(row.principal, row.time, tuple(row[2:])) for row in rows]

    def living(self) -> list[Slice]:
        """All slices that have not ended, as they were written last, oldest first."""
        living = CLAIMS.c.state.not_in([state.value for state in ENDED])
        with self._writing() as connection:
            rows = connection.execute(sa.select(CLAIMS).where(living).order_by(CLAIMS.c.slice_id)).all()
        found = (Slice.from_data(row.slice_id, SliceState(row.state), row.epoch, row.data) for row in rows)
        return sorted(found, key=lambda one: (one.created, one.id))

    def bury(self, slices: Sequence[Slice], now: float, why: str) -> None:
        """Note, many at a time, what became of slices whose processes ended with an earlier broker:
        'expired', or 'lost' where the claim lives on. What they held ended when that broker did: the lines
        tell no state of now."""
        if not slices:
            return
        ended, line = SliceState.EXPIRED, {"why": why}
        claims = [
            {"key": one.id, "to": one.epoch, "into": one.state.value, "as": one.data()} for one in slices
        ]
        events = [
            {"time": now, "slice_id": one.id, "epoch": one.epoch, "data": line}
            | {"kind": ended.value if one.state == ended else "lost"}
            for one in slices
        ]
        update = sa.update(CLAIMS).where(CLAIMS.c.slice_id == sa.bindparam("key"))
        update = update.values(
            epoch=sa.bindparam("to"), state=sa.bindparam("into"), data=sa.bindparam("as"), updated=now
        )
        free = sa.delete(LEASES).where(LEASES.c.slice_id == sa.bindparam("key"))
        with self._writing() as connection:
            connection.execute(update, claims)
            connection.execute(sa.insert(EVENTS), events)
            connection.execute(free, [{"key": one.id} for one in slices])

    def steps(self, after: int, newest: int) -> list[dict[str, Any]]:
        """What happened to slices since the line ``after``, oldest first; at most the newest lines of it."""
        about = EVENTS.c.slice_id.is_not(None) & (EVENTS.c.id > after)
        query = sa.select(EVENTS).where(about).order_by(EVENTS.c.id.desc()).limit(newest)
        with self._reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)][::-1]

    def _append(self, connection: sa.Connection, entry: Entry, now: float) -> None:
        one = entry.slice
        about = {"slice_id": one.id, "epoch": one.epoch} if one else {}
        shown = {**(one.data() | {"state": one.state.value} if one else {}), **entry.data}
        connection.execute(sa.insert(EVENTS).values(time=now, kind=entry.kind, data=shown, **about))
        if one is not None:
            self._claim(connection, one, now)
            self._leases(connection, one, now)

    def _claim(self, connection: sa.Connection, one: Slice, now: float) -> None:
        values = {"epoch": one.epoch, "state": one.state.value, "updated": now, "data": one.data()}
        if one.epoch == 1:
            connection.execute(sa.insert(CLAIMS).values(slice_id=one.id, user=one.owner.user, **values))
            return
        follows = (CLAIMS.c.slice_id == one.id) & (CLAIMS.c.epoch == one.epoch - 1)
        if connection.execute(sa.update(CLAIMS).where(follows).values(**values)).rowcount != 1:
            raise Refused(
                409,
                f"Slice {one.id} was changed elsewhere at the same time.",
                "ledger_conflict",
                "Look at its present state and ask again.",
            )

    def _leases(self, connection: sa.Connection, one: Slice, now: float) -> None:
        connection.execute(sa.delete(LEASES).where(LEASES.c.slice_id == one.id))
        rows = [
            {"slice_id": one.id, "node": node, "units": units, "epoch": one.epoch, "heartbeat": now}
            for node, units in one.units.items()
            if units
        ]
        if rows:
            connection.execute(sa.insert(LEASES), rows)

    @contextmanager
    def _writing(self, patience: float | None = None) -> Iterator[sa.Connection]:
        try:
            with self._reading() as connection:
                self._wait_for(connection, self._patience if patience is None else patience)
                yield connection
        except Refused as refused:
            self._patience = 0.0 if refused.hint == LOCKED else PATIENCE
            raise
        self._patience = PATIENCE

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """One transaction, which nobody who writes can hold up while it only reads."""
        if self._db is None:
            raise self._unavailable("it is not open")
        try:
            with self._db.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            locked = getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            raise self._unavailable(str(error.orig), LOCKED if locked else NO_ROOM) from error

    def _wait_for(self, connection: sa.Connection, seconds: float) -> None:
        if seconds != self._waits:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * seconds)}")
            self._waits = seconds

    def _unavailable(self, why: str, hint: str = NO_ROOM) -> Refused:
        message = f"The ledger {self.path} cannot be written ({why}); nothing was changed."
        return Refused(409, message, "ledger_unavailable", hint)


def _pragmas(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
