"""What users report, as numbers that the wire can carry; refused in words where it is none."""

from __future__ import annotations

import math
from typing import Any

LARGEST = 2**53  # beyond it neither a browser nor a float counts in ones


def whole(call: str, name: str, value: Any, least: int = -LARGEST) -> int:
    """``value`` as an int: integers, floats without a fraction, and numpy's and torch's scalars of them.

    Args:
        call, name: what the user wrote, for the message, such as ``ctx.report`` and ``step``.

    Raises:
        TypeError: it is no number.
        ValueError: it has a fraction, is not finite, is below ``least`` or too large.
    """
    plain = _scalar(call, name, value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise TypeError(f"{call}({name}={_short(value)}): {name} must be a whole number.")
    if not math.isfinite(plain) or plain != int(plain):
        hint = " Use // or round()." if math.isfinite(plain) else ""
        raise ValueError(f"{call}({name}={_short(value)}): {name} must be a whole number.{hint}")
    if not least <= plain <= LARGEST:
        raise ValueError(f"{call}({name}={_short(value)}): {name} must be from {least} to {LARGEST}.")
    return int(plain)


def metric(call: str, name: str, value: Any) -> Any:
    """A float now; a CUDA tensor as it is, for the sending thread to read, so that the step does not wait.

    Raises:
        TypeError: it is no number, such as a text or None.
        ValueError: it has several elements, or is too large for a float.
    """
    if hasattr(value, "detach"):
        value = value.detach()
    if getattr(value, "is_cuda", False) and value.numel() == 1 and not value.is_complex():
        return value
    plain = _scalar(call, name, value)
    if isinstance(plain, (str, bytes, bytearray)):
        raise TypeError(f"{call}({name}={_short(value)}): a metric must be a number.")
    try:
        return float(plain)
    except OverflowError:
        raise ValueError(f"{call}({name}={_short(value)}): the number is too large for a metric.") from None
    except (TypeError, ValueError):
        raise TypeError(f"{call}({name}={_short(value)}): a metric must be a number.") from None


def read(value: Any) -> float:
    """A metric that was left on its device; NaN where the device cannot be read any more."""
    try:
        return float(value)
    except RuntimeError:  # the device failed: the training finds out by itself, and says more
        return math.nan


def _scalar(call: str, name: str, value: Any) -> Any:
    """The Python number in an array or tensor of one element; anything else as it is."""
    if not callable(getattr(value, "item", None)):
        return value
    try:
        return value.item()
    except (RuntimeError, ValueError, TypeError):
        shape = tuple(getattr(value, "shape", ()))
        raise ValueError(
            f"{call}({name}=…): {name} has the shape {shape}; one number is needed, such as its mean()."
        ) from None


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
