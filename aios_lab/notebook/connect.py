"""The kernel's Dask client: connect to the slice, waiting visibly while it is not ready."""

from __future__ import annotations

import os
import time
from html import escape
from typing import TYPE_CHECKING, Any

from aios_lab.notebook.devices import show
from aios_lab.notebook.display import Output
from aios_lab.notebook.errors import AIOSError, Interrupted
from aios_lab.notebook.resizing import TOPIC, notices

if TYPE_CHECKING:
    from aios_lab.notebook.dask_client import Client
    from aios_lab.notebook.server import Server
    from aios_lab.wire import Connection, Slice

ENDED = ("failed", "expired", "released")
ASKING = 3.0  # seconds the server has to say what became of the slice of a cut connection
AGAIN = "Call aios.client() again: it asks for workers anew."
POLL = 2  # seconds the server holds one question for a connection: how old a shown reason may get


class Connector:
    """Gives out one client and keeps it while it is connected to the slice's scheduler."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client: Client | None = None
        self._address = ""
        self._pid = os.getpid()

    def client(self, timeout: float | None = None) -> Client:
        """A connected client. Raises AIOSError after ``timeout`` seconds (None: never) and Interrupted."""
        try:
            connection = self._ready(timeout)
        except AIOSError as error:
            # A server that restarts does not take away a scheduler that still answers.
            if error.reason != "server_unreachable" or not self._connected():
                raise
        else:
            show(connection.devices)
            if not self._connected() or self._address != connection.address:
                self.close(_replaced())
                self._client = self._connect(connection)
                self._address = connection.address
        assert self._client is not None
        return self._client

    def wait_for_workers(self, client: Client, count: int | None) -> None:
        """Return once ``count`` workers are connected (None: all granted ones), showing the reason meanwhile.

        Raises Interrupted.
        """
        waiting = _Waiting("the granted workers" if count is None else f"{count} workers")
        try:
            while True:
                needed = max(1, self._slice().target) if count is None else count
                try:
                    client.wait_for_workers(needed, timeout=POLL)
                    break
                except TimeoutError:
                    waiting.tell(self._slice())
        except KeyboardInterrupt:
            raise waiting.interrupted() from None
        waiting.done()

    def close(self, why: AIOSError | None = None) -> None:
        """Close the client; who still uses it is told ``why``, that the slice was released when left out."""
        if self._client is not None and self._pid == os.getpid():
            self._client.end(why or _released())
        self._client = None

    def _connect(self, connection: Connection) -> Client:
        import distributed

        from aios_lab.notebook.dask_client import Client
        from aios_lab.notebook.server import page

        untyped: Any = distributed
        security = untyped.Security(
            tls_ca_file=connection.ca,
            tls_client_cert=connection.cert,
            tls_client_key=connection.key,
            require_encryption=True,
        )
        address = connection.address
        try:
            client = Client(
                address,
                lambda: self._why_over(address),
                page(f"aios/slices/{self._server.slice_id}/dashboard/status"),
                security=security,
                name="aios-kernel",
                timeout=20,
            )
        except OSError as error:
            raise AIOSError(
                f"The scheduler of this slice at {address} does not answer: {error}.",
                "scheduler_unreachable",
                "Call aios.client() again; if it keeps failing, aios.release() gets you a fresh slice.",
            ) from None
        client.listen(TOPIC, notices.hear)
        return client

    def _why_over(self, address: str) -> AIOSError | None:
        """Why there will never again be a scheduler at ``address``; None while nobody knows."""
        from aios_lab.wire import Connection, Slice

        try:
            status, answer = self._server.send(
                "GET", f"slices/{self._server.slice_id}/connection?wait=0", timeout=ASKING
            )
        except AIOSError as error:
            return None if error.status not in (403, 404) else AIOSError(error.message, "released", AGAIN)
        if status == 200:
            return None if Connection.model_validate(answer).address == address else _replaced()
        one = Slice.model_validate(answer)
        if one.problem and (one.dormant or one.state in ENDED):
            return AIOSError(f"The slice of this client is gone: {one.problem}", "slice_failed", AGAIN)
        return _released() if one.dormant or one.state in ENDED else None

    def _connected(self) -> bool:
        return self._client is not None and self._pid == os.getpid() and self._client.status == "running"

    def _slice(self) -> Slice:
        from aios_lab.wire import Slice

        return self._server.call("GET", f"slices/{self._server.slice_id}", Slice)

    def _ready(self, timeout: float | None) -> Connection:
        from aios_lab.wire import Connection, Slice

        path = f"slices/{self._server.slice_id}"
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = _Waiting("the first worker")
        try:
            self._server.call("POST", f"{path}/activate", Slice)
            while True:
                left = POLL if deadline is None else min(POLL, max(0.0, deadline - time.monotonic()))
                status, answer = self._server.send("GET", f"{path}/connection?wait={left:.2f}")
                if status == 200:
                    waiting.done()
                    return Connection.model_validate(answer)
                one = Slice.model_validate(answer)
                waiting.tell(one)
                if one.dormant and one.problem:  # it was lost while we waited
                    self._server.call("POST", f"{path}/activate", Slice)
                elif one.dormant or one.state in ENDED:
                    raise _in_vain(one)
                if deadline is not None and time.monotonic() >= deadline:
                    raise waiting.late(timeout or 0)
        except KeyboardInterrupt:
            raise waiting.interrupted() from None


def _released() -> AIOSError:
    return AIOSError(
        "The slice of this client was released, in the panel or with aios.release(): "
        "its workers and what they computed are gone.",
        "released",
        AGAIN,
    )


def _replaced() -> AIOSError:
    return AIOSError(
        "The slice has new workers since this client was made; what the old ones computed is gone.",
        "replaced",
        "Call aios.client() again and use the client that it returns.",
    )


def _in_vain(one: Slice) -> AIOSError:
    """Why nothing will come of waiting."""
    if one.dormant:
        return AIOSError(
            "The slice was given back while this cell waited for it.",
            "released",
            "Call aios.client() again when you want it.",
        )
    return AIOSError(
        one.problem or one.reason,
        "slice_failed",
        "Call aios.client() again to try once more; if it keeps failing, the server's log says more.",
    )


class _Waiting:
    """The line that says what a cell waits for and why."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._output: Output | None = None
        self._why = ""
        self._since = time.monotonic()

    def tell(self, one: Slice) -> None:
        from aios_lab.notebook.view import why

        self._why = why(one)
        self._show(f"Waiting for {self._what} of {one.id}: {self._why}")

    def done(self) -> None:
        if self._output is not None:
            self._show(f"{self._what[:1].upper()}{self._what[1:]} came after {self._seconds()}.")

    def late(self, timeout: float) -> AIOSError:
        self._show(f"No worker within {timeout:g} s.")
        return AIOSError(
            f"No worker came within {timeout:g} s: {self._why}",
            "timeout",
            "Your claim stands: call again to go on waiting, or give it up with aios.release().",
        )

    def interrupted(self) -> Interrupted:
        self._show(f"Stopped waiting for {self._what} after {self._seconds()}.")
        why = f" ({self._why})" if self._why else ""
        return Interrupted(
            f"no longer waiting for {self._what}{why}. The claim stands; %aios release gives it up."
        )

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._since:.1f} s"

    def _show(self, text: str) -> None:
        if self._output is None:
            self._output = Output()
        self._output.show(text, {"text/html": f"<div>{escape(text)}</div>"})
