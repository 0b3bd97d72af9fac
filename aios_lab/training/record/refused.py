"""What the record answers to a request that it cannot grant."""

from __future__ import annotations


class RunRefused(Exception):
    """A request about a run that cannot be granted; becomes a 4xx answer with a ``wire.Problem``."""

    def __init__(self, status: int, message: str, reason: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.message, self.reason, self.hint = status, message, reason, hint
