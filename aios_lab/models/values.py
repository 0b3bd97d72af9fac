"""Checks of plain values that people give: names of models, and metrics. Needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .errors import BadRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")
_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}")


def check_name(name: object) -> str:
    """A model's name, checked.

    Raises:
        BadRequest: it is empty, too long, or has characters that files, URLs or MLflow do not take.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    shown = repr(name if not isinstance(name, str) or len(name) <= 40 else name[:40] + "…")
    raise BadRequest(
        f"{shown} cannot be a model's name.",
        "Use 1 to 128 letters, digits, spaces, dots, dashes or underscores; begin with a letter or digit.",
        reason="bad_name",
    )


def clean_metrics(metrics: Mapping[str, float] | None) -> dict[str, float]:
    """Metrics as plain finite floats; one-element tensors and NumPy numbers are taken too.

    Raises:
        BadRequest: a value is no finite number, or a name cannot be used.
    """
    clean: dict[str, float] = {}
    for name, value in (metrics or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadRequest(
                f"The metric {name!r} is no number.", "Give metrics={'accuracy': 0.98}."
            ) from error
        if not math.isfinite(number) or not _METRIC.fullmatch(str(name)):
            raise BadRequest(
                f"The metric {name!r} with the value {number} cannot be kept.",
                "Give finite numbers under names of letters, digits, dots, dashes, slashes or underscores.",
            )
        clean[str(name)] = number
    return clean
