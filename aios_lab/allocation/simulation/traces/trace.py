"""A trace in memory: columns of numbers, from which jobs are made when they are asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aios_lab.allocation.simulation.jobs import Job
from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.types import Resources

# A time that the trace does not know, as SWF writes it.
UNKNOWN = -1.0

# Jobs that are read at most: in columns they take 120 MB.
MOST = 2_000_000

UNSORTED = "submitted before the row above it; the jobs are sorted by submit time"

# What one unit needs, and the GPU models that would do.
Shape = tuple[Resources, tuple[str, ...]]


class Names:
    """A column of texts of which few are different: a number for each, and the texts once."""

    __slots__ = ("_numbers", "codes", "texts")

    def __init__(self) -> None:
        self.codes = array("i")
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def append(self, text: str) -> None:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        self.codes.append(number)

    def __getitem__(self, index: int) -> str:
        return self.texts[self.codes[index]]


@dataclass(slots=True)
class Columns:
    """One entry a job in each: 60 bytes a job, so that ten million fit into 600 MB."""

    ids: array[int] = field(default_factory=lambda: array("q"))
    submit: array[float] = field(default_factory=lambda: array("d"))
    run: array[float] = field(default_factory=lambda: array("d"))
    requested: array[float] = field(default_factory=lambda: array("d"))
    count: array[int] = field(default_factory=lambda: array("q"))
    shape: array[int] = field(default_factory=lambda: array("i"))
    users: Names = field(default_factory=Names)
    groups: Names = field(default_factory=Names)
    queues: Names = field(default_factory=Names)

    def reorder(self) -> None:
        """Sort by submit time; equal ones stay as they are."""
        import numpy as np

        order = np.argsort(np.frombuffer(self.submit, dtype=np.float64), kind="stable")

        def sort(column: array[int] | array[float]) -> None:
            # The bytes are copied before the view is gone: an array that is viewed cannot grow.
            column[:] = array(column.typecode, np.frombuffer(column, dtype=column.typecode)[order].tobytes())

        for column in (self.ids, self.submit, self.run, self.requested, self.count, self.shape):
            sort(column)
        for names in (self.users, self.groups, self.queues):
            sort(names.codes)


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """Jobs by submit time. ``processors`` and ``began`` (Unix time) are what the header says, if it does;
    ``notes`` say in a sentence each what the reader did about oddities."""

    source: str
    format: str
    columns: Columns
    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()
    header: Mapping[str, str] = field(default_factory=dict)
    processors: int | None = None
    began: float | None = None

    def __len__(self) -> int:
        return len(self.columns.ids)

    def __getitem__(self, index: int) -> Job:
        columns = self.columns
        unit, models = self.shapes[columns.shape[index]]
        run, requested = columns.run[index], columns.requested[index]
        return Job(
            id=columns.ids[index],
            submit=columns.submit[index],
            run=None if run < 0 else run,
            unit=unit,
            count=columns.count[index],
            requested=None if requested < 0 else requested,
            user=columns.users[index],
            group=columns.groups[index],
            queue=columns.queues[index],
            gpu_models=models,
        )

    def __iter__(self) -> Iterator[Job]:
        return map(self.__getitem__, range(len(self)))


class TraceBuilder:
    """Takes rows as they are read; counts what is to be noted. It is ``full`` with the ``first`` so many."""

    def __init__(self, source: str, format: str, first: int | None = None, most: int = MOST) -> None:
        if first is not None and first < 1:
            raise ValueError(f"The first {first} jobs of {source} are none: give 1 or more.")
        self._first = first
        self._most = most
        self.source = source
        self.format = format
        self.columns = Columns()
        self._shapes: dict[Shape, int] = {}
        self._noted: dict[str, tuple[int, int]] = {}
        self._last = float("-inf")

    def add(
        self,
        id: int,
        submit: float,
        run: float,
        requested: float,
        count: int,
        shape: Shape,
        user: str = "",
        group: str = "",
        queue: str = "",
        row: int = 0,
    ) -> None:
        """Times in seconds; ``UNKNOWN`` for those that the trace does not know.

        Raises:
            TraceError: there are more than ``most``.
        """
        if len(self.columns.ids) >= self._most:
            problem = f"the trace has more than {self._most:,} jobs: take its first ones (--jobs), or cut it."
            raise TraceError(self.source, problem, row)
        if submit < self._last:
            self.note(UNSORTED, row)
        self._last = submit
        columns = self.columns
        columns.ids.append(id)
        columns.submit.append(submit)
        columns.run.append(run)
        columns.requested.append(requested)
        columns.count.append(count)
        columns.shape.append(self._shapes.setdefault(shape, len(self._shapes)))
        columns.users.append(user)
        columns.groups.append(group)
        columns.queues.append(queue)

    @property
    def full(self) -> bool:
        return self._first is not None and len(self.columns.ids) >= self._first

    def shift(self, seconds: float) -> None:
        """Move all submit times, to count them from where the trace began."""
        submit = self.columns.submit
        for index, time in enumerate(submit):
            submit[index] = time + seconds

    def note(self, what: str, row: int) -> None:
        """Count a row of which the trace is to say ``what``, together with the others like it."""
        count, first = self._noted.get(what, (0, row))
        self._noted[what] = (count + 1, first)

    def finish(
        self,
        header: Mapping[str, str] | None = None,
        processors: int | None = None,
        began: float | None = None,
    ) -> Trace:
        """Raises: TraceError: no job was read."""
        if not self.columns.ids:
            raise TraceError(self.source, "it holds no job that could be run.")
        if UNSORTED in self._noted:
            self.columns.reorder()
        notes = tuple(
            f"Row {first}{f' and {count - 1} more' if count > 1 else ''}: {what}."
            for what, (count, first) in self._noted.items()
        )
        shapes = tuple(self._shapes)
        return Trace(self.source, self.format, self.columns, shapes, notes, header or {}, processors, began)
