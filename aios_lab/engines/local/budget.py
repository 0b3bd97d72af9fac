"""How much memory may be spent on what is kept ready."""

from __future__ import annotations

import psutil

# What a process takes of its own beside what forked processes share, in bytes: seen 30 to 70 MB.
_EACH = 80 << 20
_FREE = 0.1  # the part of the machine's memory that is left alone


def affordable(processes: int, held: int) -> int:
    """How many spares of so many processes each the memory has room for, ``held`` of which are there."""
    memory = psutil.virtual_memory()
    each = processes * _EACH
    left = memory.available + held * each - _FREE * memory.total
    return max(0, int(left // each))
