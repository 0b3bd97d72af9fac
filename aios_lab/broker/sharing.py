"""The section ``fair_share`` of the quota file: how past usage counts, who is guarded, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from aios_lab.allocation import DEFAULT_SHARING, Sharing
from aios_lab.broker.errors import Refused
from aios_lab.broker.sizes import bad_size, thousandths, whole_seconds

ORDERS = ("share", "fair_tree")


def _part(value: object, what: str, most: int) -> int:
    part = thousandths(value, what)
    if part > most:
        raise bad_size(what, value, f"Write a number from 0 to {most / 1000:g}.")
    return part


def _order(value: object) -> str:
    if value not in ORDERS:
        raise bad_size("order", value, f"Write one of: {', '.join(ORDERS)}.")
    return str(value)


_READ: Mapping[str, Callable[[object], Any]] = {
    "order": _order,
    "half_life": lambda value: whole_seconds(value, "half-life"),
    "k": lambda value: _part(value, "k", 100_000),
    "hysteresis": lambda value: _part(value, "part of the capacity", 1000),
    "guard": lambda value: whole_seconds(value, "length of time"),
    "charge": lambda value: whole_seconds(value, "length of time"),
}
FIELDS = tuple(_READ)


def read_sharing(parts: Mapping[str, yaml.Node], wrong: Callable[[yaml.Node, str], None]) -> Sharing:
    """The parameters that the fields give, others as they are by default; ``wrong`` hears every mistake."""
    values = {}
    for name, node in parts.items():
        try:
            values[name] = _READ[name](_plain(node))
        except Refused as refused:
            wrong(node, f"{name}: {refused.message} {refused.hint}")
    return replace(DEFAULT_SHARING, **values)


def _plain(node: yaml.Node) -> object:
    """A number where it is one, else the text."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list or a mapping"
    try:
        return float(node.value)
    except ValueError:
        return node.value
