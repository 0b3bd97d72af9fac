"""What the rules of sharing take for a number."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Real


def number(value: object, what: str) -> float:
    """The value when it is a finite number; ``what`` names it in the error.

    Raises:
        ValueError: it is not a number, NaN, or infinite.
    """
    try:
        result = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{what} is {value!r}: give a finite number.")
    return result


def amount(value: object, what: str) -> float:
    """The value when it is a finite number that is not negative.

    Raises:
        ValueError: it is anything else.
    """
    result = number(value, what)
    if result < 0:
        raise ValueError(f"{what} is {value!r}: give 0 or more.")
    return result


def exact(value: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth, so that ties are ties and ten tenths are one."""
    return Fraction(str(value))
