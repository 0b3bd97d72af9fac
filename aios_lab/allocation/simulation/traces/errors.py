"""What is wrong with a trace, and where."""

from __future__ import annotations


class TraceError(ValueError):
    """A trace cannot be read: says the file, the row (its lines counted from 1) and the field."""

    def __init__(self, source: str, problem: str, row: int | None = None, field: str | None = None) -> None:
        self.source = source
        self.row = row
        self.field = field
        place = [source, *([] if row is None else [f"row {row}"]), *([] if field is None else [field])]
        super().__init__(f"{', '.join(place)}: {problem}")
