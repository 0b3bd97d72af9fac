"""Arguments of layers and graph nodes as JSON and back.

Plain JSON values stand for themselves; everything else is an object with one key that names its kind:
``{"tuple": […]}``, ``{"node": "relu"}``, ``{"dtype": "float32"}`` and so on.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from .errors import BadBundle

Json = Any

_TORCH_CONSTANTS = (torch.dtype, torch.memory_format, torch.layout)


class Unencodable(Exception):
    """A value that has no place in the data; the text says which."""


def encode(value: object) -> Json:
    """Write a value down as JSON.

    Raises:
        Unencodable: the value is of a kind that the format does not know.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, slice):
        return {"slice": [encode(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, _TORCH_CONSTANTS):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    return _encode_collection(value)


def _encode_collection(value: object) -> Json:
    if isinstance(value, tuple):  # torch.Size is one; a namedtuple is read back as a plain tuple
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    kind = type(value)
    raise Unencodable(f"a value of type {kind.__module__}.{kind.__qualname__}")


def decode(data: Json, nodes: Mapping[str, fx.Node]) -> Any:
    """Read a value back; ``nodes`` are the graph's nodes so far, by their stored names.

    Raises:
        BadBundle: the data is malformed or names something unknown.
    """
    if isinstance(data, list):
        return [decode(item, nodes) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise malformed(f"the argument {data!r}")
    ((kind, body),) = data.items()
    try:
        return _decode_kind(kind, body, nodes)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise malformed(f"the argument {data!r}") from error


def _decode_kind(kind: str, body: Any, nodes: Mapping[str, fx.Node]) -> Any:
    match kind:
        case "node":
            return nodes[body]
        case "tuple":
            return tuple(decode(item, nodes) for item in body)
        case "dict":
            return {decode(key, nodes): decode(item, nodes) for key, item in body}
        case "slice":
            return slice(*(decode(part, nodes) for part in body))
        case "range":
            return range(*body)
        case "ellipsis":
            return Ellipsis
        case "float":
            return float(body)
        case "device":
            return torch.device(body)
        case "torch":
            found = getattr(torch, body, None)
            if isinstance(found, _TORCH_CONSTANTS):
                return found
    raise malformed(f"an argument of kind {kind!r}")


def malformed(what: str) -> BadBundle:
    """The error for a recipe that was not written by this format."""
    return BadBundle(
        f"The stored architecture is malformed: {what} cannot be read.",
        "Register the model again from the code that made it.",
        reason="bad_architecture",
    )


def check_path(path: object) -> str:
    """Check a dotted path such as ``layers.0.weight``: it becomes part of generated code.

    Raises:
        BadBundle: a part is neither a number nor an identifier.
    """
    if isinstance(path, str) and path and all(_is_segment(part) for part in path.split(".")):
        return path
    raise malformed(f"the path {path!r}")


def check_identifier(name: object) -> str:
    """Check a name that becomes an argument's name in generated code.

    Raises:
        BadBundle: it is no identifier, or a word of the language.
    """
    if isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name):
        return name
    raise malformed(f"the name {name!r}")


def _is_segment(part: str) -> bool:
    return part.isascii() and (part.isidentifier() or part.isdigit()) and not part.startswith("__")
