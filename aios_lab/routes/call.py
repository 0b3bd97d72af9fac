"""A request once it is parsed and its caller known: what a route's function gets."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_server.auth import IdentityProvider, User

from aios_lab.broker.errors import Refused
from aios_lab.routes.services import Services
from aios_lab.wire import Wire


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person, or with ``slice_id`` a kernel that may act on this slice alone."""

    user: str
    slice_id: str | None = None

    def must_own_slice(self, slice_id: str, user: str) -> None:
        """Raises: Refused (403) when the slice is another's."""
        mine = self.user == user if self.slice_id is None else self.slice_id == slice_id
        if not mine:
            raise Refused(
                403,
                f"Slice {slice_id} belongs to another owner.",
                "forbidden",
                "Work on a slice of your own; the panel lists yours first.",
            )


def person(provider: IdentityProvider, user: User) -> str:
    """The name a signed-in person has in the quota tree.

    The Hub's user, else a real identity provider's, else the operating system's: the providers that come
    with Jupyter Server invent a new name for every browser.
    """
    if hub_user := os.environ.get("JUPYTERHUB_USER"):
        return hub_user
    if not type(provider).__module__.startswith("jupyter_server."):
        return user.username
    return system_user()


def _name_of_this_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


# Found out once: a server that can open no file any more would take its user for another one.
_SYSTEM_USER = _name_of_this_user()


def system_user() -> str:
    """The operating system's user; the numeric id where it has no name, as in many containers."""
    return _SYSTEM_USER


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request: ``ids`` from its path, ``query`` from its URL, ``body`` when the route has one."""

    services: Services
    caller: Caller
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose status is not the route's usual one, or that is no JSON."""

    body: Wire | str
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Query:
    """A number in the URL, such as ``wait``: ``low`` to ``high``, ``default`` when left out."""

    name: str
    low: float
    high: float
    default: float
    about: str


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: what it is called, takes and answers, and the function that does it.

    ``path`` is below ``aios/api`` with ids in braces. ``answer`` maps each status to a wire type, to a list
    of one as ``list[X]``, or to a content type for what is no JSON.
    """

    method: str
    path: str
    call: Callable[[Call], Awaitable[Any]]
    about: str
    answer: Mapping[int, Any]
    body: type[Wire] | None = None
    query: tuple[Query, ...] = ()
