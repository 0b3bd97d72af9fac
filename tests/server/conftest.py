"""A real server with the real broker and local engine, on a declared inventory that is small everywhere."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from aios_lab.extension import AIOSLab
from people import People


@pytest.fixture
def aios_config() -> dict[str, Any]:
    return {"inventory": {"cpus": 4, "memory": "8GB"}, "default_claim": {"memory": "400MB"}}


@pytest.fixture
def jp_server_config(
    request: pytest.FixtureRequest,
    jp_server_config: Config,
    aios_config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Config:
    KernelProvisionerFactory.clear_instance()
    if request.node.get_closest_marker("people"):
        monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
        jp_server_config.ServerApp.identity_provider_class = People
    settings = {"data_dir": str(tmp_path / "aios"), "spares": 0, "spare_processes": 0, **aios_config}
    jp_server_config.merge(Config({"AIOSLab": settings}))
    return jp_server_config


@dataclass
class Reply:
    status: int
    body: Any

    @property
    def is_problem(self) -> bool:
        """A refusal whose body says what, why and what to do."""
        body = self.body
        said = isinstance(body, dict) and set(body) == {"message", "reason", "hint"} and all(body.values())
        return 400 <= self.status < 500 and said


@dataclass
class API:
    """Calls the server as its signed-in user, or with ``token`` as a kernel; never raises for a 4xx."""

    fetch: Callable[..., Awaitable[Any]]
    app: AIOSLab

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        raw: bytes | None = None,
        **more: Any,
    ) -> Reply:
        headers = {"X-AIOS-Token": token, "Authorization": ""} if token is not None else {}
        sent = raw if raw is not None else None if body is None else json.dumps(body).encode()
        try:
            answer = await self.fetch(
                *path.split("/"),
                method=method,
                body=sent,
                headers=headers,
                allow_nonstandard_methods=True,
                **{"request_timeout": 120} | more,  # the first use of MLflow, on a busy machine
            )
        except HTTPClientError as error:
            return Reply(error.code, json.loads(error.response.body if error.response else b"null"))
        return Reply(answer.code, json.loads(answer.body) if answer.body else None)

    async def kernel(self, path: str = "work.ipynb") -> tuple[str, str]:
        """Start a kernel for a notebook; returns its id and the id of its slice."""
        session = await self(
            "POST",
            "api/sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        assert session.status == 201, session
        kernel_id = session.body["kernel"]["id"]
        return kernel_id, (await self.slice_of(kernel_id))["id"]

    async def slice_of(self, kernel_id: str) -> dict[str, Any]:
        slices = (await self("GET", "aios/api/slices")).body
        found: dict[str, Any] = next(one for one in slices if one["kernel_id"] == kernel_id)
        return found

    def token(self, slice_id: str) -> str:
        return self.app.services.broker.token(slice_id)


@pytest.fixture
def api(jp_serverapp: Any, jp_fetch: Any, jp_asyncio_loop: Any) -> Iterator[API]:
    """pytest-jupyter runs no start and stop hooks of extensions; this does, as the server would."""
    app = jp_serverapp.extension_manager.extension_points["aios_lab"].app
    jp_asyncio_loop.run_until_complete(app._start_jupyter_server_extension(jp_serverapp))
    yield API(jp_fetch, app)
    jp_asyncio_loop.run_until_complete(app.stop_extension())
    for kernel_id in jp_serverapp.kernel_manager.list_kernel_ids():
        jp_asyncio_loop.run_until_complete(jp_serverapp.kernel_manager.shutdown_kernel(kernel_id, now=True))
