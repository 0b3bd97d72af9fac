"""AIOS Lab: JupyterLab as an operating system for AI work. ``import aios_lab as aios`` is the SDK.

Nothing heavy is imported until a name is used: every public name is looked up on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios_lab.extension import AIOSLab

_SDK = frozenset(
    {"attach", "client", "forecast", "models", "on_resize", "release", "request", "slice", "train", "why"}
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _SDK:
        raise AttributeError(f"module 'aios_lab' has no attribute {name!r}")
    sdk = import_module("aios_lab.notebook.sdk")
    try:
        value = getattr(sdk, name)
    except AttributeError:
        raise AttributeError(f"module 'aios_lab' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SDK, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("aios-lab")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "0.0.0"


def _jupyter_server_extension_points() -> list[dict[str, str | type[AIOSLab]]]:
    from aios_lab.extension import AIOSLab

    return [{"module": "aios_lab.extension", "app": AIOSLab}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "../labextension", "dest": "aios-lab"}]
