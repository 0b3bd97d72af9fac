"""What the broker cannot do, said so that people can act on it."""

from __future__ import annotations

from aios_lab.wire import Problem


class Refused(Exception):
    """A request that cannot be met; over HTTP it is ``status`` (4xx) with a ``wire.Problem`` as body.

    ``message`` says what was asked and why it cannot be, ``reason`` is a short stable word, ``hint`` says
    what to do.
    """

    def __init__(self, status: int, message: str, reason: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.hint = hint

    @property
    def problem(self) -> Problem:
        return Problem(message=self.message, reason=self.reason, hint=self.hint)
