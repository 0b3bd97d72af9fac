"""What goes wrong in the broker's rounds: told to the administrator until it is over, and in no one's way."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aios_lab.broker.errors import Refused
from aios_lab.wire import Problem

log = logging.getLogger(__name__)


class Troubles:
    """The troubles of now, one of a kind."""

    def __init__(self) -> None:
        self._now: dict[str, Refused] = {}

    @property
    def problems(self) -> list[Problem]:
        return [refused.problem for _, refused in sorted(self._now.items())]

    def guard(self, what: str, action: Callable[[], None]) -> None:
        """One failed round is told, and the next one comes all the same."""
        try:
            action()
            self._now.pop(what, None)
        except Refused as refused:
            self._now[what] = refused
            log.warning("%s", refused.message)
        except Exception as error:
            # A rejected plan, or a mistake of ours: without heartbeats all slices would count as expired.
            hint = "Nothing was changed. Please report it with the server's log."
            self._now[what] = Refused(409, f"The broker's {what} failed: {error}", "broker_failed", hint)
            log.exception("The broker's %s failed.", what)

    def policy(self, policy: str, note: str) -> None:
        """Another policy decided than the one that was chosen, as ``note`` says; empty when it did not."""
        known = self._now.pop("policy", None)
        if note:
            hint = "Choose another policy in the quota file if this does not pass by itself."
            self._now["policy"] = Refused(409, f"policy {policy}: {note}", "policy_failed", hint)
            if known is None:
                log.warning("%s", self._now["policy"].message)
