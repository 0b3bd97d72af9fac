"""Slices as people read them: one line, a table, text and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from aios_lab.models import tables
from aios_lab.notebook.server import page
from aios_lab.wire import Amounts, Slice

HEADER = ("", "slice", "user", "name", "state", "workers", "each", "priority", "why not more")


class SliceView(Slice):
    """A slice as it was when asked for; shows itself as text and as HTML."""

    def __repr__(self) -> str:
        return line(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_table([self])


class SliceTable:
    """All slices that the kernel may see, its own first."""

    def __init__(self, slices: Sequence[Slice], own: str) -> None:
        self.slices = sorted(slices, key=lambda one: (one.id != own, one.user, one.created))
        self._own = own

    def __repr__(self) -> str:
        return text_table(self.slices, self._own)

    def _repr_html_(self) -> str:
        return html_table(self.slices, self._own)


def line(one: Slice) -> str:
    """``s-1: 1 of 2 workers (1 CPU, 2 GB each), active: why it has no more``."""
    why = explanation(one)
    return f"{one.id}: {size(one)}, {state(one)}" + (f": {why}" if why else "")


def explanation(one: Slice) -> str:
    """Why the slice has less than it asked for; empty when it has all."""
    return " ".join(part for part in (one.problem, one.reason) if part)


def why(one: Slice) -> str:
    """The explanation as an answer to the question, for every state."""
    told = explanation(one)
    if told:
        return told
    if one.dormant:
        return (
            "Nothing is asked for yet: the first aios.client(), aios.request() or training wakes the slice."
        )
    if one.workers < one.target:
        return f"{one.workers} of the {one.target} granted workers are up, the rest are starting."
    if one.workers == 1:
        return "Nothing is missing: the worker that was asked for is here."
    return f"Nothing is missing: all {one.workers} workers that were asked for are here."


def state(one: Slice) -> str:
    if one.dormant and one.workers:
        return "giving back"
    if one.parked:
        return "parked"
    return "asleep" if one.dormant else one.state.value


def size(one: Slice) -> str:
    plural = "" if one.max_workers == 1 else "s"
    simulated = ", simulated" if one.simulated else ""
    return f"{_workers(one)} worker{plural} ({amounts(one.unit)} each{simulated})"


def _workers(one: Slice) -> str:
    """``2 of 4``; ``4, soon 1 of 2``, while more run than it is to have."""
    soon = f", soon {one.target}" if one.workers > one.target else ""
    return f"{one.workers}{soon} of {one.max_workers}"


def amounts(unit: Amounts) -> str:
    """``1 CPU, 2 GB, 1 GPU``: what is zero is left out."""
    parts = [f"{unit.cpus:g} CPU{'' if unit.cpus == 1 else 's'}"] if unit.cpus else []
    parts += [tables.size(unit.memory)] if unit.memory else []
    parts += [f"{unit.gpus:g} GPU{'' if unit.gpus == 1 else 's'}"] if unit.gpus else []
    return ", ".join(parts) or "nothing"


def _row(one: Slice, own: str) -> tuple[str, ...]:
    known = one.mine or one.id == own
    return (
        "→" if one.id == own else "",
        one.id,
        one.user,
        one.name,
        state(one),
        _workers(one) if known else str(one.workers),
        amounts(one.unit) + (" (simulated)" if one.simulated else ""),
        one.priority,
        explanation(one),
    )


def text_table(slices: Iterable[Slice], own: str = "") -> str:
    return tables.text([HEADER, *(_row(one, own) for one in slices)])


def html_table(slices: Sequence[Slice], own: str = "") -> str:
    return tables.html([HEADER, *(_row(one, own) for one in slices)]) + "".join(map(_dashboard, slices))


def _dashboard(one: Slice) -> str:
    """A link to it; nothing where there is none to see."""
    if not one.dashboard:
        return ""
    href = escape(page(one.dashboard))
    return f'<a href="{href}" target="_blank" rel="noopener">Dask dashboard of {escape(one.id)}</a><br>'
