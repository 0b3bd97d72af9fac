"""``jupyter aios``: what the ledger says, also while a server runs and after it died; and simulations."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aios_lab.allocation.simulation.tables import text_table
from aios_lab.broker.ledger import CLAIMS, EVENTS, LEASES, TTL
from aios_lab.broker.slices import ENDED
from aios_lab.models.places import data_folder
from aios_lab.simulate_cli import add_arguments, simulate
from aios_lab.wire import SliceState

HOLDING = {state.value for state in (SliceState.GRANTED, SliceState.ACTIVE, SliceState.RESIZING)}
LOST = "lost"  # its server ended without a word, and its processes with it


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 when there is nothing that could be read."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has; and nothing is to be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    return code


def _read_ledger(options: argparse.Namespace) -> int:
    path: Path = options.ledger
    if not path.is_file():
        print(
            f"There is no ledger at {path}. Start Jupyter with AIOS Lab once, or name one with --ledger.",
            file=sys.stderr,
        )
        return 1
    # Read-only and without the lock, which belongs to the server.
    engine = sa.create_engine(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            rows = options.read(connection, options)
    except sa.exc.DBAPIError as error:
        print(f"{path} cannot be read as a ledger: {error.orig}.", file=sys.stderr)
        return 1
    finally:
        engine.dispose()
    print(json.dumps(rows, indent=2) if options.json else _table(rows, options.columns))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jupyter aios", description="What the ledger of AIOS Lab says, and simulations."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    status = commands.add_parser("status", help="slices that live, and the units they hold")
    status.set_defaults(read=_status, columns=("slice", "state", "user", "name", "units", "beat"))
    ledger = commands.add_parser("ledger", help="the record of what was decided and done, oldest first")
    ledger.add_argument("--slice", help="only this slice's")
    ledger.add_argument("--last", type=int, default=50, metavar="N", help="the last N lines (50)")
    ledger.set_defaults(read=_events, columns=("time", "kind", "slice"))
    default = data_folder() / "ledger.db"
    for command in (status, ledger):
        command.add_argument("--ledger", type=Path, default=default, help=f"the ledger's file ({default})")
        command.add_argument("--json", action="store_true", help="everything, as JSON")
        command.set_defaults(run=_read_ledger)
    simulation = commands.add_parser("simulate", help="what would have happened to the jobs of a trace")
    add_arguments(simulation)
    simulation.set_defaults(run=simulate)
    return parser


def _status(connection: sa.Connection, _: argparse.Namespace) -> list[dict[str, Any]]:
    """Living claims. ``units`` counts leases whose server gave a sign of life within the TTL; a claim that
    should have some and has none is lost."""
    now = time.time()
    fresh = (LEASES.c.slice_id == CLAIMS.c.slice_id) & (LEASES.c.heartbeat >= now - TTL)
    units, beat = sa.func.coalesce(sa.func.sum(LEASES.c.units), 0), sa.func.max(LEASES.c.heartbeat)
    query = (
        sa.select(CLAIMS, units.label("held"), beat.label("beat"))
        .select_from(CLAIMS.outerjoin(LEASES, fresh))
        .where(CLAIMS.c.state.not_in([state.value for state in ENDED]))
        .group_by(CLAIMS.c.slice_id)
        .order_by(CLAIMS.c.slice_id)
    )
    return [
        {
            "slice": row["slice_id"],
            "state": LOST if row["state"] in HOLDING and not row["held"] else row["state"],
            "user": row["user"],
            "name": row["data"].get("owner", {}).get("name", ""),
            "units": row["held"],
            "beat": None if row["beat"] is None else round(now - row["beat"], 1),
            "claim": row["data"].get("claim"),
        }
        for row in connection.execute(query).mappings()
    ]


def _events(connection: sa.Connection, options: argparse.Namespace) -> list[dict[str, Any]]:
    query = sa.select(EVENTS).order_by(EVENTS.c.id.desc()).limit(max(options.last, 0))
    if options.slice:
        query = query.where(EVENTS.c.slice_id == options.slice)
    rows = [
        {
            "id": row["id"],
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(row["time"])),
            "kind": row["kind"],
            "slice": row["slice_id"],
            "epoch": row["epoch"],
            "data": row["data"],
        }
        for row in connection.execute(query).mappings()
    ]
    return rows[::-1]


def _table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    lines = [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    return text_table(columns, lines, left=len(columns)) if lines else "Nothing."


if __name__ == "__main__":
    sys.exit(main())
