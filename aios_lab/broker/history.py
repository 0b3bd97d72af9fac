"""What a ledger tells of a span of time, as jobs that can be played again. It is only read, and may belong to
a server that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aios_lab.allocation import Node, Principal, Resources
from aios_lab.allocation.simulation import FinishedJob, Job
from aios_lab.broker.claims import PRIORITIES
from aios_lab.broker.ledger import EVENTS
from aios_lab.broker.slices import Slice

SQLITE = b"SQLite format 3\0"
MANY = 200_000  # uses that are read at most: each takes half a kilobyte here, and its time in a simulation


class HistoryError(ValueError):
    """A ledger cannot be played again; the message says why and what would help, ``reason`` is a word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class History:
    """``jobs`` by submit time and ``past``, what became of them, in seconds since ``began``; ``nodes`` and
    ``principals`` as the last decision saw them. ``began`` and ``ended`` are in seconds since the epoch.
    ``policies`` were in force, the one with most decisions first."""

    began: float
    ended: float
    jobs: tuple[Job, ...]
    past: tuple[FinishedJob, ...]
    nodes: tuple[Node, ...]
    principals: tuple[Principal, ...]
    policies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_ledger(path: Path) -> bool:
    """Whether the file is a SQLite database, as ledgers are and traces are not."""
    with open(path, "rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def read_history(
    path: Path, since: float | None = None, until: float | None = None, *, most: int = MANY
) -> History:
    """Read the uses of slices between two times, in seconds since the epoch; all there are when left out.

    A use begins when a claim asks for units while it has none, and ends when it has none again. It becomes a
    job of the most units that it asked for; what it held, units times seconds, is the job's work, which with
    fewer units takes longer. What was there at the beginning counts from then on, and what is there at the
    end until then. Uses that never got a unit are left out, with a note.

    Raises:
        HistoryError: the file is no ledger or cannot be read ('no_ledger'), there was no use ('too_little'),
            or there were more than ``most`` ('too_much').
    """
    end = time.time() if until is None else until
    with _reading(path) as connection:
        uses = _Uses(-float("inf") if since is None else since)
        for row in connection.execution_options(yield_per=1000).execute(_events(since, end)):
            uses.hear(row.time, row.slice_id, row.data)
            if len(uses.ended) > most:
                raise HistoryError(
                    f"{path} has more than {most:,} uses in this time: take a shorter one.", "too_much"
                )
        plans = EVENTS.c.kind == "plan"
        nodes = connection.execute(_latest("nodes", plans & (EVENTS.c.time <= end))).scalar()
        inside = plans & (EVENTS.c.time.between(uses.since, end) if since is not None else sa.true())
        principals = [json_rows for (json_rows,) in connection.execute(_principals(inside))]
        policies = [name for (name,) in connection.execute(_policies(inside))]
    return _history(path, uses, end, nodes, principals, policies)


@dataclass(slots=True)
class _Use:
    claim: Mapping[str, Any]
    user: str
    submit: float
    start: float | None = None
    unit: Mapping[str, int] = field(default_factory=dict)
    most: int = 1
    held: int = 0
    heard: float = 0.0
    work: float = 0.0
    held_from: list[tuple[float, int]] = field(default_factory=list)  # since when how many units


class _Uses:
    """Goes through the record and follows what every slice asks for and holds."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.ended: list[tuple[_Use, float]] = []
        self.never = 0
        self.last = since
        self._open: dict[str, _Use] = {}

    def hear(self, at: float, slice_id: str, data: Mapping[str, Any]) -> None:
        # A server that died wrote nothing more, and the next one has only this to say of its slices: they
        # ended when it was last heard of.
        now = max(self.since, at if "state" in data else self.last)
        self.last = max(self.last, now)
        wanted, held = Slice.asked_in(data), sum(data.get("units", {}).values())
        use = self._open.get(slice_id)
        if use is not None and not held and (use.start is not None or not wanted):
            self._close(slice_id, now)
            use = None
        if use is None and (wanted or held):
            use = self._open[slice_id] = _Use(data["claim"], data["owner"]["user"], now, heard=now)
        if use is not None:
            self._follow(use, now, data, held)

    def _follow(self, use: _Use, now: float, data: Mapping[str, Any], held: int) -> None:
        now = max(now, use.heard)  # a clock may be set back
        use.work += use.held * (now - use.heard)
        use.heard, use.held = now, held
        if data.get("wanted"):
            use.claim = data["claim"]
        if use.start is None:
            use.most = use.claim["max"]
        elif use.claim["unit"] == use.unit:
            use.most = max(use.most, use.claim["max"])
        if held:
            use.unit, use.most = data["unit"], max(use.most, held)
            use.start = now if use.start is None else use.start
        if use.start is not None and (not use.held_from or use.held_from[-1][1] != held):
            use.held_from.append((now, held))

    def close(self, now: float) -> None:
        """The end of the span: what is still held counts until then."""
        for slice_id in sorted(self._open):
            self._close(slice_id, now)

    def _close(self, slice_id: str, now: float) -> None:
        use = self._open.pop(slice_id)
        if use.start is None:
            self.never += 1
            return
        now = max(now, use.heard)
        use.work += use.held * (now - use.heard)
        self.ended.append((use, now))


def _events(since: float | None, until: float) -> sa.Select[Any]:
    """Steps of slices in the span, and of each the last before it."""
    steps = sa.select(EVENTS.c.time, EVENTS.c.slice_id, EVENTS.c.data).order_by(EVENTS.c.id)
    query = steps.where(EVENTS.c.slice_id.is_not(None), EVENTS.c.time <= until)
    if since is None:
        return query
    before = EVENTS.c.time < since
    last = sa.select(sa.func.max(EVENTS.c.id)).where(before).group_by(EVENTS.c.slice_id)
    return query.where(~before | EVENTS.c.id.in_(last))


def _part(name: str) -> sa.Function[Any]:
    return sa.func.json_extract(EVENTS.c.data, f"$.snapshot.{name}", type_=sa.JSON)


def _latest(name: str, where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(_part(name)).where(where).order_by(EVENTS.c.id.desc()).limit(1)


def _principals(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Every quota tree that was decided with, the newest last."""
    part = _part("principals")
    return sa.select(part).where(where).group_by(part).order_by(sa.func.max(EVENTS.c.id))


def _policies(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    name = sa.func.json_extract(EVENTS.c.data, "$.policy")
    return sa.select(name).where(where).group_by(name).order_by(sa.func.count().desc(), name)


def _history(
    path: Path,
    uses: _Uses,
    end: float,
    nodes: Any,
    principals: list[Any],
    policies: list[str],
) -> History:
    uses.close(end)
    if not uses.ended or not nodes:
        raise HistoryError(
            f"{path} has no use of a slice in this time: nobody held anything. Take a longer time, or come "
            "back when notebooks have worked on slices.",
            "too_little",
        )
    began = min(use.submit for use, _ in uses.ended)
    ended = sorted(uses.ended, key=lambda one: (one[0].submit, one[1], one[0].user))
    jobs = tuple(_job(number, use, began) for number, (use, _) in enumerate(ended))
    past = tuple(
        FinishedJob(
            job.id,
            job.submit,
            (use.start or began) - began,
            at - began,
            job.need,
            job.user,
            tuple((since - began, units / use.most) for since, units in use.held_from),
        )
        for job, (use, at) in zip(jobs, ended, strict=True)
    )
    tree = {row["path"]: _principal(row) for rows in principals for row in rows}
    machines = tuple(Node(row["name"], Resources(**row["capacity"])) for row in nodes)
    said = "1 claim" if uses.never == 1 else f"{uses.never:,} claims"
    notes = (f"{said} asked and got nothing in this time; left out.",) if uses.never else ()
    return History(began, end, jobs, past, machines, tuple(tree.values()), tuple(policies), notes)


def _job(number: int, use: _Use, began: float) -> Job:
    claim = use.claim
    return Job(
        id=number,
        submit=use.submit - began,
        run=use.work / use.most,
        unit=Resources(**use.unit),
        count=use.most,
        requested=claim["duration"],
        user=use.user,
        group=claim["project"],
        least=max(1, min(claim["min"], use.most)),
        preemptible=claim["preemptible"],
        priority=PRIORITIES[claim["priority"]],
    )


def _principal(row: Mapping[str, Any]) -> Principal:
    limit = None if row["limit"] is None else Resources(**row["limit"])
    return Principal(row["path"], row["weight"], Resources(**row["quota"]), limit, row["priority"])


@contextmanager
def _reading(path: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///file:{path.absolute()}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise HistoryError(f"{path} cannot be read as a ledger: {error.orig}.", "no_ledger") from error
    finally:
        engine.dispose()
