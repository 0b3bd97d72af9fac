"""Models: a registry over MLflow, bundles that can be trusted, compression. ``aios.models`` in a notebook.

The public names are looked up on first use, so that importing this package needs neither torch nor MLflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ModelError

if TYPE_CHECKING:
    from .registry import Registry
    from .sdk import compress, load, register, versions
    from .sdk import list_models as list
    from .view import ModelVersion

__all__ = ["ModelError", "ModelVersion", "Registry", "compress", "list", "load", "register", "versions"]

_PLACES = {
    "Registry": ("registry", "Registry"),
    "list": ("sdk", "list_models"),
    "ModelVersion": ("view", "ModelVersion"),
    **{name: ("sdk", name) for name in ("compress", "load", "register", "versions")},
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'aios_lab.models' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value
