"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Rows under headings, each column as wide as it needs; the first ``left`` ones begin at the left, the
    others, numbers, end at the right."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]

    def padded(line: Sequence[str]) -> Iterable[str]:
        for column, (text, width) in enumerate(zip(line, widths, strict=True)):
            yield text.ljust(width) if column < left else text.rjust(width)

    return "\n".join("  ".join(padded(line)).rstrip() for line in lines)
