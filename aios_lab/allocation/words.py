"""Amounts, claims and counts as people say them."""

from __future__ import annotations

import math

from aios_lab.allocation.types import RESOURCES, UNLIMITED, Demand, Resources

_NOUNS = {
    "cpu": ("CPU thread", "CPU threads"),
    "memory": ("of memory", "of memory"),
    "gpu": ("GPU", "GPUs"),
    "gpu_memory": ("of GPU memory", "of GPU memory"),
}


def thousandths(amount: int) -> str:
    """1500 as '1.5', 2000 as '2'."""
    return f"{amount / 1000:g}"


def memory(amount: int) -> str:
    """MiB in the decimal units of requests, which were cut to whole MiB: 953 as '1 GB'."""
    megabytes = math.ceil(amount * 1.048576)
    for size, name in ((1e6, "TB"), (1e3, "GB")):
        if megabytes >= size * 0.9995:
            return f"{megabytes / size:.3g} {name}"
    return f"{megabytes:.0f} MB"


def memory_below(amount: int) -> int:
    """The most MiB of at most this many that ``memory`` says in two digits, and may be asked for so."""
    megabytes = amount * 1048576 // 1_000_000
    step = int("1".ljust(len(str(megabytes)) - 1, "0"))  # two digits are left
    return megabytes // step * step * 1_000_000 // 1048576


def noun(resource: str) -> str:
    """'CPU threads', 'GPUs', 'memory'."""
    return _NOUNS[resource][1].removeprefix("of ")


def amount_of(resource: str, amount: int, whole: int | None = None) -> str:
    """'2 CPU threads', '1 GB of memory'; with a whole '2 of 8 CPU threads'."""
    say = thousandths if resource in ("cpu", "gpu") else memory
    one, many = _NOUNS[resource]
    if whole is not None:
        return f"{say(amount)} of {say(whole)} {many}"
    return f"{say(amount)} {one if amount == 1000 else many}"


def amounts(resources: Resources) -> str:
    """All that is not nothing: '1 CPU thread, 1 GB of memory'."""
    said = [amount_of(name, amount) for name, amount in resources.items() if 0 < amount < UNLIMITED]
    return ", ".join(said) or "nothing"


def count(units: int, noun: str = "worker") -> str:
    return f"{units} {noun}" if units == 1 else f"{units} {noun}s"


def user_of(principal: str) -> str:
    return principal.rpartition("/")[2]


def who(demand: Demand) -> str:
    """'bob's train.ipynb'."""
    return f"{user_of(demand.principal)}'s {demand.name or demand.claim}"


def scarcest(need: Resources, capacity: Resources) -> str:
    """The resource of which the need is the greatest part of the capacity."""
    parts = {
        name: amount / getattr(capacity, name) if getattr(capacity, name) else float("inf")
        for name, amount in need.items()
        if amount
    }
    return max(RESOURCES, key=lambda name: parts.get(name, -1.0))


def listed(parts: list[str], total: int) -> str:
    """'a, b and c'; where there are more than are named, 'a, b and 2 more'."""
    shown = parts if len(parts) == total else [*parts, f"{total - len(parts)} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
