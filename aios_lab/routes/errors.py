"""What the parts below refuse, and the one HTTP shape it takes."""

from __future__ import annotations

from aios_lab.broker.errors import Refused
from aios_lab.models.errors import ModelError
from aios_lab.training.record.refused import RunRefused
from aios_lab.wire import Problem

REFUSALS = (Refused, RunRefused, ModelError)


def problem_of(refusal: Refused | RunRefused | ModelError) -> Problem:
    """The body of the answer; the status is ``refusal.status``."""
    return Problem(message=refusal.message, reason=refusal.reason, hint=refusal.hint)
