"""A slice's Dask dashboard, relayed to whoever may see the slice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from http.client import responses
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    WebSocketHandler,
    websocket_connect,
)

from aios_lab.broker.errors import Refused
from aios_lab.engines.unix import short
from aios_lab.routes.base import CallerHandler, serialise
from aios_lab.routes.call import Answer, Call
from aios_lab.routes.errors import REFUSALS
from aios_lab.routes.services import Services
from aios_lab.routes.slices import DASHBOARD
from aios_lab.wire import Dashboard, Problem

PATH = r"/aios/slices/(?P<slice_id>[\w-]+)/dashboard(?P<path>/.*)?"

# What passes; all else stays: no cookie or token reaches a slice, and none of a slice's reaches the browser.
ASKED = ("Accept", "Accept-Language", "If-None-Match", "If-Modified-Since", "User-Agent")
ANSWERED = ("Content-Type", "Cache-Control", "Etag", "Expires", "Last-Modified", "Location")
TOKEN = "token"  # Jupyter's own, where it is in the URL

PATIENCE = 60.0  # seconds that a page may take
LARGEST = 100 << 20  # bytes of a page or a message
GONE = Refused(
    409,
    "The slice's dashboard does not answer: the slice has ended, or its scheduler is busy.",
    "no_dashboard",
    "Load the page again; the panel says how the slice is.",
)
LOST = (OSError, HTTPClientError, WebSocketError, WebSocketClosedError)


class DashboardHandler(CallerHandler, WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Relays one page, or one websocket, of the slice whose owner asks."""

    def initialize(self, services: Services) -> None:
        super().initialize(services)
        self._far: WebSocketClientConnection | None = None
        self._relaying: asyncio.Task[None] | None = None

    async def _sign_in(self) -> None:
        """Who opens the page in a browser that is not signed in is asked to, and comes back."""
        await JupyterHandler.prepare(self, _redirect_to_login=self._is_page)
        if not self._is_page and self.current_user is None:
            raise web.HTTPError(403)

    @web.authenticated
    async def get(  # type: ignore[override]  # tornado's own decorator returns another type
        self, slice_id: str, path: str | None = None
    ) -> None:
        if self._is_socket and not self.check_origin():  # before anything is made for it
            raise web.HTTPError(403)
        try:
            door = await self._door(slice_id)
            if path in (None, "/"):
                self.redirect(f"{self._root(slice_id)}/status")
            elif self._is_socket:
                await self._open_far(door, self._far_url("ws", slice_id))
                try:
                    await WebSocketHandler.get(self)  # for as long as the connection lasts
                finally:
                    self._hang_up()
            else:
                await self._fetch(door, self._far_url("http", slice_id))
        except REFUSALS as refusal:
            self._refuse(refusal)

    async def _door(self, slice_id: str) -> Path:
        """The socket of the dashboard. Raises: Refused, also for all but those who may see the slice."""
        assert self.caller is not None
        call = Call(self.services, self.caller, {"slice_id": slice_id})
        found = await self.services.perform(DASHBOARD, call)
        text = serialise(found.body if isinstance(found, Answer) else found)
        return Path(Dashboard.model_validate_json(text).socket)

    @property
    def _is_socket(self) -> bool:
        return self.request.headers.get("Upgrade", "").lower() == "websocket"

    @property
    def _is_page(self) -> bool:
        """Whether a person looks."""
        return not self._is_socket and "text/html" in self.request.headers.get("Accept", "")

    def _root(self, slice_id: str) -> str:
        return f"{self.base_url}aios/slices/{slice_id}/dashboard"

    def _far_url(self, scheme: str, slice_id: str) -> str:
        """The path as it was sent, since names of tasks may have escaped slashes; without Jupyter's token."""
        _, _, path = self.request.path.partition(f"/aios/slices/{slice_id}/dashboard")
        query = [pair for pair in parse_qsl(self.request.query, True) if pair[0] != TOKEN]
        return f"{scheme}://dashboard{path}" + (f"?{urlencode(query)}" if query else "")

    # --- pages ---------------------------------------------------------------------------------------------

    async def _fetch(self, door: Path, url: str) -> None:
        request = HTTPRequest(
            url,
            headers=_passing(self.request.headers, ASKED),
            follow_redirects=False,
            decompress_response=False,
            request_timeout=PATIENCE,
        )
        try:
            with short(door) as name:
                client = SimpleAsyncHTTPClient(
                    force_instance=True, resolver=_One(name), max_body_size=LARGEST
                )
                answer = await client.fetch(request, raise_error=False)
        except LOST as error:
            raise GONE from error
        self.set_status(answer.code, answer.reason)
        for name, value in _passing(answer.headers, ANSWERED).items():
            self.set_header(name, value)
        self.finish(answer.body if answer.code != 304 else None)

    # --- websockets ----------------------------------------------------------------------------------------

    async def _open_far(self, door: Path, url: str) -> None:
        """Connect to the slice first: what cannot be had is refused while that can be said in words."""
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = [name.strip() for name in offered.split(",") if name.strip()]
        try:
            with short(door) as name:
                self._far = await websocket_connect(
                    url, subprotocols=protocols, resolver=_One(name), max_message_size=LARGEST
                )
        except LOST as error:
            raise GONE from error

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return None if self._far is None else self._far.selected_subprotocol

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self._relaying = asyncio.get_running_loop().create_task(self._relay())

    async def _relay(self) -> None:
        """What the slice says, one message after the other, until either side hangs up."""
        assert self._far is not None
        with suppress(*LOST):
            while (message := await self._far.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        self.close()

    async def on_message(self, message: str | bytes) -> None:
        assert self._far is not None
        with suppress(*LOST):
            await self._far.write_message(message, binary=isinstance(message, bytes))

    def _hang_up(self) -> None:
        if self._relaying is not None:
            self._relaying.cancel()
        if self._far is not None:
            self._far.close()

    def _tell(self, status: int, problem: Problem) -> None:
        """As a page where a person looks."""
        if self._is_page:
            render: Any = self.render_template  # it has no types
            said = f"{problem.message}\n{problem.hint}"
            self.set_status(status)
            self.finish(
                render("error.html", status_code=status, status_message=responses[status], message=said)
            )
        else:
            self.set_header("Content-Type", "application/json")
            super()._tell(status, problem)


def _passing(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


class _One(Resolver):
    """Whatever the address, this Unix socket."""

    def initialize(self, name: str) -> None:
        self._name = name

    async def resolve(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[tuple[int, Any]]:
        return [(socket.AF_UNIX, self._name)]
