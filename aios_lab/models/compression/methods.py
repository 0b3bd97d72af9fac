"""The methods by name, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from torch import nn

from aios_lab.wire import LayerReport

from ..errors import BadRequest

_ENERGY = 0.9


@dataclass(frozen=True, slots=True)
class Settings:
    """How far to go: ``energy``, the kept share of the squared singular values, or ``ratio``, the kept share
    of a layer's weights. Exactly one of them is set.
    """

    energy: float | None = None
    ratio: float | None = None

    @classmethod
    def of(cls, energy: float | None, ratio: float | None) -> Settings:
        """Check what was asked; with neither, an energy of 0.9.

        Raises:
            BadRequest: both are given, or one is out of its range.
        """
        if energy is not None and ratio is not None:
            raise BadRequest("Both energy and ratio were given.", "Give energy=0.9 or ratio=0.5, not both.")
        if energy is None and ratio is None:
            return cls(energy=_ENERGY)
        return cls(_share("energy", energy, closed=True), _share("ratio", ratio, closed=False))

    def as_recipe(self) -> dict[str, float]:
        """What is set, for the recipe."""
        return {name: value for name in ("energy", "ratio") if (value := getattr(self, name)) is not None}


def _share(name: str, value: float | None, closed: bool) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and value > 0 and (value <= 1 if closed else value < 1):
        return float(value)
    bound = "at most" if closed else "below"
    raise BadRequest(
        f"{name}={value!r} is out of range.", f"Give a number above 0 and {bound} 1, such as 0.9."
    )


@dataclass(frozen=True, slots=True)
class Compressed:
    """A new, smaller model, and what was decided for each layer."""

    model: nn.Module
    layers: list[LayerReport]


Progress = Callable[[float, str], None]
Method = Callable[[nn.Module, Settings, Progress], Compressed]

METHODS: Mapping[str, str] = {"low_rank": "aios_lab.models.compression.low_rank:compress"}


def find(name: object) -> Method:
    """The method of that name.

    Raises:
        BadRequest: there is none.
    """
    if not isinstance(name, str) or name not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise BadRequest(
            f"There is no compression method {name!r}.", f"Methods are: {known}.", "unknown_method"
        )
    module, _, function = METHODS[name].partition(":")
    method: Method = getattr(import_module(module), function)
    return method
