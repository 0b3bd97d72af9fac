"""Models and their versions as a notebook shows them: a line, a table, text and HTML."""

from __future__ import annotations

import time
from collections.abc import Mapping

from aios_lab import wire

from . import tables
from .tables import Row, size

HEADER = ("name", "version", "made from", "size", "parameters", "measured", "by", "when")


class ModelVersion(wire.ModelVersion):
    """A version; one that ``compress`` made has a ``report``: before, after, every layer's decision.

    ``origin`` says what it was made from, back to the version that was registered.
    """

    report: wire.CompressReport | None = None
    origin: str = ""

    def __repr__(self) -> str:
        made = f" ({self.origin})" if self.origin else ""
        return f"{self.name} v{self.version}{made}: {', '.join(part for part in self._parts() if part)}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        if self.report is None:
            return tables.html([HEADER, row(self)])
        before, after = self.report.before, self.report.after
        header = ("", "version", "made from", "size", "parameters", "measured")
        return tables.html(
            [
                header,
                ("before", f"{self.name} v{self.parent}", "", *_measures(before)),
                ("after", f"{self.name} v{self.version}", self.origin, *_measures(after)),
            ]
        )

    def _parts(self) -> tuple[str, ...]:
        if self.report is None:
            count = f"{self.parameters:,} parameters"
            return size(self.bytes), count, measured(self.metrics), when(self.created)
        before, after = self.report.before, self.report.after
        figures = [f"{name} {value:.4g}{_was(before, name)}" for name, value in after.metrics.items()]
        return (
            f"{size(after.bytes)} (was {size(before.bytes)})",
            f"{after.parameters:,} parameters (was {before.parameters:,})",
            *figures,
            when(self.created),
        )


class Model(wire.Model):
    """A registered model with its versions, newest first."""

    versions: list[ModelVersion]  # type: ignore[assignment]  # the same, shown for people

    def __repr__(self) -> str:
        return tables.text([HEADER, *map(row, self.versions)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return tables.html([HEADER, *map(row, self.versions)])


class Versions(list[ModelVersion]):
    """The versions of a model, newest first; shows itself as a table."""

    def __repr__(self) -> str:
        return tables.text([HEADER, *map(row, self)])

    def _repr_html_(self) -> str:
        return tables.html([HEADER, *map(row, self)])


class Models(list[Model]):
    """All models by name; shows itself as a table of their newest versions."""

    def __repr__(self) -> str:
        return tables.text(self._rows()) if self else NONE

    def _repr_html_(self) -> str:
        return tables.html(self._rows()) if self else f"<div>{NONE}</div>"

    def _rows(self) -> list[Row]:
        header = (*HEADER, "versions")
        return [header, *((*row(one.versions[0]), str(len(one.versions))) for one in self if one.versions)]


NONE = "There are no models yet. Register one with aios.models.register(run, 'name')."


def origin(version: wire.ModelVersion, others: Mapping[int, wire.ModelVersion]) -> str:
    """``low_rank of v2, itself low_rank of v1``; ``run r-1`` or nothing for one that was registered."""
    if version.parent is None:
        return f"run {version.run_id}" if version.run_id else ""
    text = f"{version.method or 'made'} of v{version.parent}"
    parent = others.get(version.parent)
    if parent is not None and parent.parent is not None:
        return f"{text}, itself {origin(parent, others)}"
    return text


def row(one: ModelVersion) -> Row:
    return (
        one.name,
        f"v{one.version}",
        one.origin,
        size(one.bytes),
        f"{one.parameters:,}",
        measured(one.metrics),
        one.user,
        when(one.created),
    )


def measured(metrics: Mapping[str, float]) -> str:
    """``accuracy 0.9822  loss 0.07``."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _measures(one: wire.Measure) -> Row:
    return size(one.bytes), f"{one.parameters:,}", measured(one.metrics)


def _was(before: wire.Measure, name: str) -> str:
    return f" (was {before.metrics[name]:.4g})" if name in before.metrics else ""
