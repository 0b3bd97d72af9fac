"""Amounts as people write them, and as the core counts them."""

from __future__ import annotations

import math
import re

from aios_lab.allocation import UNLIMITED, Resources
from aios_lab.broker.errors import Refused
from aios_lab.wire import Amounts

MIB = 1 << 20
_UNITS = {
    "": 1,
    "B": 1,
    **{prefix + "B": 1000**power for power, prefix in enumerate("KMGTP", start=1)},
    **{prefix + "IB": 1024**power for power, prefix in enumerate("KMGTP", start=1)},
}
_TIMES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)


def bad_size(what: str, value: object, hint: str) -> Refused:
    return Refused(422, f"{value!r} is no {what}.", "bad_size", hint)


def memory_bytes(value: object, what: str = "amount of memory", least: int = MIB) -> int:
    """Bytes of '2GB' (10^9), '512MiB' (2^20) or a whole number of bytes.

    Raises:
        Refused: 422 'bad_size' for anything else, and for less than ``least``.
    """
    hint = f"Write it as '2GB', '512MiB' or a number of bytes; {least // MIB} MiB is the least."
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        factor = _UNITS.get(match[2].upper())
        size = float(match[1]) * factor if factor else -1.0
    elif isinstance(value, int | float) and not isinstance(value, bool):
        size = float(value)
    else:
        size = -1.0
    if not math.isfinite(size) or not least <= size <= UNLIMITED:
        raise bad_size(what, value, hint)
    return int(size)


def whole_seconds(value: object, what: str) -> int:
    """Whole seconds of '2d', '36h', '90m', '30s' or a number of seconds, at most ten years.

    Raises:
        Refused: 422 'bad_size' for anything else.
    """
    seconds = -1.0
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        seconds = float(match[1]) * _TIMES.get(match[2].lower(), -1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0 <= seconds <= 3650 * 86_400:
        raise bad_size(what, value, "Write it as '2d', '36h', '90m' or a number of seconds.")
    return round(seconds)


def thousandths(value: object, what: str, least: float = 0.0) -> int:
    """A number of CPU threads or accelerators in thousandths.

    Raises:
        Refused: 422 'bad_size' when it is no finite number of at least ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_size(what, value, "Write a number, such as 2 or 0.5.")
    if not math.isfinite(value) or not least <= value <= 1e9:
        raise bad_size(what, value, f"Write a number of at least {least:g}, such as 2 or 0.5.")
    return round(value * 1000)


def to_wire(resources: Resources) -> Amounts:
    """The core's amounts as people read them; a resource that a ceiling leaves open stays 0."""
    known = {name: amount if amount < UNLIMITED else 0 for name, amount in resources.items()}
    return Amounts(
        cpus=known["cpu"] / 1000,
        memory=_as_asked(known["memory"]),
        gpus=known["gpu"] / 1000,
        gpu_memory=_as_asked(known["gpu_memory"]),
    )


def _as_asked(mebibytes: int) -> int:
    """Bytes, up to the next megabyte: '1GB' was cut to whole MiB and should read as 1 GB again."""
    return -(-mebibytes * MIB // 10**6) * 10**6
