"""Several people on one server, for tests of who may do what."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth import IdentityProvider, User

PERSON = "X-Person"


class People(IdentityProvider):
    """The server's token lets one in; a header says who it is."""

    async def get_user(self, handler: Any) -> User | None:
        user = super().get_user(handler)
        admitted = await user if not isinstance(user, User | None) else user
        return admitted and User(username=handler.request.headers.get(PERSON, "ada"))
