"""Errors as a notebook should show them: what was asked, what is possible, what to do; no insides."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AIOSError(RuntimeError):
    """What AIOS Lab cannot do as asked. ``reason`` is a short stable word, ``hint`` says what to do.

    ``status`` is that of the server's answer, 0 where the error is not the server's.
    """

    def __init__(self, message: str, reason: str, hint: str = "", status: int = 0) -> None:
        self.message, self.reason, self.hint, self.status = message, reason, hint, status
        super().__init__(f"{message} {hint}".strip())

    def __reduce__(self) -> tuple[type[AIOSError], tuple[str, str, str, int]]:
        return type(self), (self.message, self.reason, self.hint, self.status)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows as the cell's error."""
        return [f"{type(self).__name__}: {self.message}", *([self.hint] if self.hint else [])]


class Interrupted(KeyboardInterrupt):
    """The kernel was interrupted and what it waited for stopped in order; the message says what is left."""

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean request?``, or nothing where no known word is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" Did you mean {near[0]}?" if near else ""


def brief(error: BaseException, *lines: str) -> BaseException:
    """``error``, which IPython will show as ``lines`` (without any: its own text) and none of our frames."""
    shown = list(lines) or [f"{type(error).__name__}: {error}"]
    error.__dict__["_render_traceback_"] = lambda: shown
    return error
