"""Errors of the model side: each says what was asked, what is possible, and what to do."""

from __future__ import annotations

from aios_lab.wire import Problem


class ModelError(Exception):
    """A model could not be saved, found, loaded or changed.

    Attributes:
        status: the HTTP status that a route answers with (4xx).
        message: what was asked and why it cannot be done.
        reason: a short stable word.
        hint: what to do about it.
    """

    def __init__(self, status: int, message: str, reason: str, hint: str) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.status = status
        self.message = message
        self.reason = reason
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """In a notebook the sentence is the whole error: where in our code it was raised helps nobody."""
        return [f"{type(self).__name__}: {self}"]

    def problem(self) -> Problem:
        """The body of the HTTP answer."""
        return Problem(message=self.message, reason=self.reason, hint=self.hint)


class NotStorable(ModelError):
    """The architecture cannot be written down as data."""

    def __init__(self, message: str, hint: str, reason: str = "not_storable") -> None:
        super().__init__(422, message, reason, hint)


class BadBundle(ModelError):
    """A stored bundle is incomplete, was altered, or is none of ours."""

    def __init__(self, message: str, hint: str, reason: str = "bad_bundle") -> None:
        super().__init__(422, message, reason, hint)


class NotFound(ModelError):
    """No such model or version."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(404, message, "not_found", hint)


class BadRequest(ModelError):
    """An argument has a value that cannot be used."""

    def __init__(self, message: str, hint: str, reason: str = "bad_request") -> None:
        super().__init__(400, message, reason, hint)


class NothingToShrink(ModelError):
    """No layer becomes smaller under the asked settings."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(422, message, "nothing_to_shrink", hint)


class RegistryUnavailable(ModelError):
    """The MLflow store does not answer."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(424, message, "registry_unavailable", hint)
