"""The optimum of a small linear program by trying every corner, in fractions: nothing to go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

Row = Sequence[Fraction]


def best_corner(gains: Row, matrix: Sequence[Row], ceilings: Row) -> Fraction:
    """max gains · x over matrix · x ≤ ceilings and x ≥ 0, which is bounded and allows x = 0."""
    n = len(gains)
    bounds = [[Fraction(-(i == j)) for j in range(n)] for i in range(n)]
    rows, rights = [*matrix, *bounds], [*ceilings, *[Fraction(0)] * n]
    best = Fraction(0)
    for tight in combinations(range(len(rows)), n):
        corner = _meet([rows[i] for i in tight], [rights[i] for i in tight])
        if corner and all(_dot(row, corner) <= right for row, right in zip(rows, rights, strict=True)):
            best = max(best, _dot(gains, corner))
    return best


def _dot(one: Row, other: Row) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True) if a and b), Fraction(0))


def _meet(rows: list[Row], rights: list[Fraction]) -> list[Fraction] | None:
    """Where all rows are tight, by elimination; None where that is no single point."""
    left = [[*row, right] for row, right in zip(rows, rights, strict=True)]
    for column in range(len(left)):
        pivot = next((i for i in range(column, len(left)) if left[i][column]), None)
        if pivot is None:
            return None
        left[column], left[pivot] = left[pivot], left[column]
        head = left[column][column]
        left[column] = [value / head for value in left[column]]
        for i, row in enumerate(left):
            if i != column and row[column]:
                left[i] = [a - row[column] * b for a, b in zip(row, left[column], strict=True)]
    return [row[-1] for row in left]
