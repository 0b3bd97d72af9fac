"""Models that no graph can hold, kept as an import path and plain constructor arguments."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from importlib import metadata
from typing import Any

from torch import nn

from .codec import Json, Unencodable, decode, encode, malformed
from .errors import BadBundle, ModelError


@cache
def _installed_packages() -> frozenset[str]:
    return frozenset(metadata.packages_distributions())


def describe(model: nn.Module) -> dict[str, Json] | None:
    """``{"class", "args"}`` for a model of an installed class with plain arguments; else None."""
    kind = type(model)
    if kind.__module__.partition(".")[0] not in _installed_packages() or "<locals>" in kind.__qualname__:
        return None
    args = _arguments(model)
    if args is None:
        return None
    described = {"class": f"{kind.__module__}:{kind.__qualname__}", "args": args}
    try:
        made = build(described)
    except ModelError:  # its attributes are not what its constructor took
        return None
    return described if _shapes(made) == _shapes(model) else None


def _shapes(model: nn.Module) -> dict[str, object]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _arguments(model: nn.Module) -> dict[str, Json] | None:
    args: dict[str, Json] = {}
    for name, parameter in inspect.signature(type(model)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None
        value = vars(model).get(name, parameter.default)
        try:
            args[name] = encode(value)
        except Unencodable:
            return None
    return args


def build(description: dict[str, Json]) -> nn.Module:
    """Import the class and make the model; its tensors are still to be set.

    Raises:
        BadBundle: the class is not installed here, is no model, or does not take the arguments.
    """
    path = description.get("class")
    if not isinstance(path, str) or path.count(":") != 1:
        raise malformed("the import path")
    kind = _find(path)
    try:
        return kind(**{key: decode(value, {}) for key, value in description["args"].items()})
    except Exception as error:  # the constructor is foreign code and may raise anything
        raise BadBundle(
            f"The class {path} of this model no longer takes the stored arguments.",
            "Install the version of its package that the model was made with.",
            reason="class_changed",
        ) from error


def _find(path: str) -> type[nn.Module]:
    module, _, name = path.partition(":")
    found: Any = None
    if module.partition(".")[0] in _installed_packages():
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            found = None
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    raise BadBundle(
        f"This model needs the class {path}, which is not installed here.",
        "Install the package that defines it and try again.",
        reason="class_missing",
    )
