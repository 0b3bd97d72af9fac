"""How long to wait before what failed is tried again."""

from __future__ import annotations

_DOUBLINGS = 16  # more of them would leave the range of numbers some day


def pause(failures: int, longest: float, first: float = 1.0) -> float:
    """Seconds after so many failures in a row: none without one, ``first`` after one, twice as long after
    each further one, never more than ``longest``."""
    return min(longest, first * 2.0 ** min(failures - 1, _DOUBLINGS)) if failures > 0 else 0.0
