"""The one handler behind every endpoint: authenticate, parse, call the route, serialise. What pages beside
the endpoints share with it: who is let in, and how a refusal is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http.client import responses
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth import User
from jupyter_server.auth.utils import HTTP_METHOD_TO_AUTH_ACTION
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from pydantic import ValidationError
from tornado import web

from aios_lab.broker.errors import Refused
from aios_lab.models.errors import ModelError
from aios_lab.routes.call import Answer, Call, Caller, Query, Route, person
from aios_lab.routes.errors import REFUSALS, problem_of
from aios_lab.routes.services import Services
from aios_lab.training.record.refused import RunRefused
from aios_lab.wire import Problem, Wire

TOKEN_HEADER = "X-AIOS-Token"
RESOURCE = "aios"


class CallerHandler(JupyterHandler):
    """Knows who calls. People come in by Jupyter's identity provider and authorizer; a kernel comes in by its
    own token, which no handler but ours knows, so it opens nothing else of the server.
    """

    # Polled by the panel and by kernels: counting it as activity would defeat culling.
    _track_activity = False
    auth_resource = RESOURCE

    def initialize(self, services: Services) -> None:
        self.services = services
        self.caller: Caller | None = None

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        token = self.request.headers.get(TOKEN_HEADER)
        if token is None:
            await self._sign_in()
            await self._admit_person()
        else:
            try:
                self._admit_kernel(token)
            except REFUSALS as refusal:
                self._refuse(refusal)

    async def _sign_in(self) -> None:
        """Learn from Jupyter who the person is."""
        await super().prepare()

    def _admit_kernel(self, token: str) -> None:
        """A kernel carries its token in a header that no foreign web page can set without our consent, so
        neither cookies nor cross-site checks come into it; and a wrong one is never tried as anything else.
        """
        if not self.check_host():
            raise web.HTTPError(403)
        slice_id = self.services.admit(token)
        if slice_id is None:
            raise web.HTTPError(403, "This kernel's token is not known to the server.")
        self.caller = Caller(self.services.kernels[slice_id].owner.user, slice_id)
        self.current_user = User(username=slice_id)

    async def _admit_person(self) -> None:
        user = self.current_user
        if user is None:  # OPTIONS, which Jupyter answers to anybody
            return
        action = HTTP_METHOD_TO_AUTH_ACTION[self.request.method or "GET"]
        if not await ensure_async(self.authorizer.is_authorized(self, user, action, RESOURCE)):
            raise web.HTTPError(403, f"You are not allowed to {action} AIOS Lab on this server.")
        self.caller = Caller(person(self.identity_provider, user))

    def _refuse(self, refusal: Refused | RunRefused | ModelError) -> None:
        self._tell(refusal.status, problem_of(refusal))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors of Jupyter's own checks, and of ours, in the one shape that our clients know."""
        error = kwargs.get("exc_info", (None, None))[1]
        said = error.log_message if isinstance(error, web.HTTPError) else None
        self._tell(status_code, _problem(status_code, said))

    def _tell(self, status: int, problem: Problem) -> None:
        self.set_status(status)
        self.finish(problem.model_dump_json())


class RouteHandler(CallerHandler, APIHandler):
    """All methods of one path."""

    def initialize(self, services: Services, routes: Mapping[str, Route] | None = None) -> None:
        super().initialize(services)
        self.routes = routes or {}

    @web.authenticated
    async def get(self, **ids: str) -> None:
        await self._answer(ids)

    @web.authenticated
    async def post(self, **ids: str) -> None:
        await self._answer(ids)

    @web.authenticated
    async def patch(self, **ids: str) -> None:
        await self._answer(ids)

    @web.authenticated
    async def delete(self, **ids: str) -> None:
        await self._answer(ids)

    @web.authenticated
    async def put(self, **ids: str) -> None:
        await self._answer(ids)

    async def _answer(self, ids: Mapping[str, str]) -> None:
        try:
            route = self._route()
            result = await self.services.perform(route, self._call(route, ids))
        except REFUSALS as refusal:
            self._refuse(refusal)
        else:
            self._send(result, min(route.answer))

    def _route(self) -> Route:
        route = self.routes.get(self.request.method or "")
        if route is not None:
            return route
        if not self.routes:
            raise Refused(
                404,
                f"There is no endpoint {self.request.path}.",
                "not_found",
                "aios/api/openapi.json lists every endpoint.",
            )
        self.set_header("Allow", ", ".join(sorted(self.routes)))
        raise Refused(
            405,
            f"{self.request.method} is not possible here.",
            "method_not_allowed",
            f"Use {' or '.join(sorted(self.routes))}.",
        )

    def _call(self, route: Route, ids: Mapping[str, str]) -> Call:
        if self.caller is None:
            raise web.HTTPError(403)
        query = {one.name: self._number(one) for one in route.query}
        return Call(self.services, self.caller, ids, query, self._body(route.body))

    def _number(self, query: Query) -> float:
        text = self.get_query_argument(query.name, None)
        if text is None:
            return query.default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not query.low <= value <= query.high:
            raise Refused(
                400,
                f"?{query.name}={text} is not possible.",
                "bad_request",
                f"Give a number from {query.low:g} to {query.high:g}: {query.about}.",
            )
        return value

    def _body(self, model: type[Wire] | None) -> Wire | None:
        if model is None:
            return None
        try:
            return model.model_validate_json(self.request.body or b"{}")
        except ValidationError as error:
            raise Refused(
                400,
                sentence(error),
                "bad_request",
                f"Send a {model.__name__} as aios/api/openapi.json describes it.",
            ) from None

    def _send(self, result: Any, status: int) -> None:
        kind = "application/json"
        if isinstance(result, Answer):
            status, kind, result = result.status, result.content_type, result.body
        self.set_status(status)
        self.finish(serialise(result), set_content_type=kind)


def serialise(result: Any) -> str:
    """A wire type, a list of them, plain JSON data, or text that is ready to send."""
    if isinstance(result, str):
        return result
    if isinstance(result, Wire):
        return result.model_dump_json()
    if isinstance(result, list):
        return "[" + ",".join(serialise(one) for one in result) + "]"
    return json.dumps(result)


def sentence(error: ValidationError) -> str:
    """What is wrong with a body, in words: the first thing that pydantic found, and how many more."""
    first, *more = error.errors(include_url=False, include_context=False)
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        text = f"The body is no valid JSON: {said.removeprefix('Invalid JSON: ')}"
    elif first["type"] == "extra_forbidden":
        text = f"'{where}' is no field of this request"
    elif first["type"] == "missing":
        text = f"'{where}' is missing"
    else:
        text = f"'{where}' is {_short(first['input'])}: {said[:1].lower()}{said[1:]}"
    return text + (f" (and {len(more)} more)." if more else ".")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _problem(status: int, said: str | None) -> Problem:
    if status == 403:
        return Problem(
            message=said or "You are not signed in to this Jupyter server.",
            reason="forbidden",
            hint="Sign in, or restart the kernel if the request came from a notebook.",
        )
    if status >= 500:
        return Problem(
            message="The server could not do this because of a fault of its own.",
            reason="server_error",
            hint="The server's log tells more; please report it.",
        )
    text = responses.get(status, "The request is not possible")
    return Problem(
        message=said or f"{text}.",
        reason=text.lower().replace(" ", "_"),
        hint="aios/api/openapi.json describes every request.",
    )
