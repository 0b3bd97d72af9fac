"""The kernel's line to its Jupyter server: JSON over HTTP, errors as AIOSError."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from aios_lab.notebook.errors import AIOSError

if TYPE_CHECKING:
    from aios_lab.wire import Wire

    W = TypeVar("W", bound=Wire)

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

NO_SERVER_HINT = (
    "Open this notebook in a JupyterLab that runs the AIOS Lab extension and start its kernel there, "
    "or train on a Dask cluster of your own with aios.train(…, client=my_dask_client)."
)


@dataclass(frozen=True)
class Server:
    """``url`` is the Jupyter server's, without a trailing slash; ``slice_id`` the slice of this kernel."""

    url: str
    token: str
    slice_id: str
    ca: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Server:
        """The server that started this kernel. Raises AIOSError where none did."""
        given = os.environ if environment is None else environment
        try:
            return cls(given["AIOS_URL"], given["AIOS_TOKEN"], given["AIOS_SLICE"], given.get("AIOS_CA"))
        except KeyError:
            problem = given.get("AIOS_PROBLEM", "")
            if problem:
                raise AIOSError(problem, "no_slice", "Mend this, then restart the kernel.") from None
            raise AIOSError(
                "This process has no slice: it was not started by a JupyterLab with AIOS Lab.",
                "no_server",
                NO_SERVER_HINT,
            ) from None

    def call(self, method: str, path: str, kind: type[W], body: Wire | None = None) -> W:
        """The answer as ``kind``. Raises AIOSError for every 4xx and 5xx and where nobody answers."""
        return kind.model_validate(self.send(method, path, body)[1])

    def send(self, method: str, path: str, body: Wire | None = None, timeout: float = 60) -> tuple[int, Any]:
        """The status and the JSON of ``<url>/aios/api/<path>``. Raises AIOSError like ``call``."""
        # json.dumps, not pydantic: a loss may be NaN, which pydantic would turn into null.
        data = None if body is None else json.dumps(body.model_dump(mode="json", exclude_unset=True)).encode()
        request = urllib.request.Request(
            f"{self.url}/aios/api/{path}",
            data,
            {"X-AIOS-Token": self.token, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener().open(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, ValueError, HTTPException) as error:  # the last one: it died while it answered
            raise AIOSError(
                f"The Jupyter server at {self.url} does not answer: {getattr(error, 'reason', error)}.",
                "server_unreachable",
                "Check that it still runs; after a restart of it, restart this kernel too.",
            ) from None

    def _opener(self) -> urllib.request.OpenerDirector:
        # No proxy: the server is the one that started this kernel, most often on this very machine.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=self._trust()))
        return urllib.request.build_opener(*handlers)

    def _trust(self) -> ssl.SSLContext:
        """``ca`` is the file of the server's own certificate, with what it was issued by below it."""
        if self.ca is None:
            return ssl.create_default_context()
        certificate = _CERTIFICATE.search(Path(self.ca).read_text("ascii", "replace"))
        if certificate is None:
            raise ValueError(f"{self.ca} holds no certificate")
        context = _pinned(certificate[0])
        # On this machine we call it 127.0.0.1, a name that hardly any certificate is for.
        context.check_hostname = not _is_loopback(urlsplit(self.url).hostname or "")
        return context


def page(path: str, environment: Mapping[str, str] = os.environ) -> str:
    """The URL, for a browser, of a page of the server that started this kernel. Behind a hub only a path:
    people do not reach the server's own address, and Lab completes a path by the one that they do."""
    url = f"{environment.get('AIOS_URL', '')}/{path}"
    return urlsplit(url).path if "JUPYTERHUB_SERVICE_PREFIX" in environment else url


def _pinned(certificate: str) -> ssl.SSLContext:
    """Trusts this one certificate (PEM) and no other, whoever issued it."""
    context = ssl.create_default_context(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # Newer Pythons are strict about extensions that many a self-signed certificate lacks.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(error: urllib.error.HTTPError) -> AIOSError:
    try:
        problem = json.loads(error.read())
        return AIOSError(problem["message"], problem["reason"], problem["hint"], error.code)
    except (OSError, ValueError, KeyError, TypeError, HTTPException):
        return AIOSError(
            f"The Jupyter server answered {error.code} {error.reason}.",
            "server_error",
            "Check that its AIOS Lab extension is enabled; the server's log says more.",
            error.code,
        )
