"""A slice's Dask dashboard: on a Unix socket in the slice's folder, so that the one way to it is the server's
proxy, which knows who asks."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler, http
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from aios_lab.engines.unix import short

# Neither Dask's API, which changes things, nor its proxy, which leads to any port of the machine.
_PAGES = ["distributed.http.scheduler.info", "distributed.http.scheduler.json", "distributed.http.statics"]

# Dask would look after its browsers twice a second for as long as the slice lives.
_BOKEH = {"keep_alive_milliseconds": 10_000, "check_unused_sessions_milliseconds": 5_000}


async def serve(scheduler: Scheduler, path: Path) -> None:
    """Serve the dashboard of ``scheduler`` at ``path`` until the scheduler closes.

    Its links are relative: it works below whatever URL a proxy puts it.
    """
    # Importing Bokeh takes a second, in which the scheduler goes on.
    pages = await asyncio.to_thread(importlib.import_module, "distributed.dashboard.scheduler")
    untyped: Any = http
    routes = untyped.get_handlers(server=scheduler, modules=_PAGES, prefix="/")
    application = scheduler.http_application = untyped.routing.RoutingApplication(routes)
    server: Any = HTTPServer(application)
    server.port = 0  # Bokeh asks for one
    scheduler.http_server = server
    with dask.config.set({"distributed.scheduler.dashboard.bokeh-application": _bokeh()}):
        pages.connect(application, server, scheduler, prefix="")
    with short(path) as name:
        server.add_socket(bind_unix_socket(name, mode=0o600))


def _bokeh() -> dict[str, Any]:
    given: dict[str, Any] = dask.config.get("distributed.scheduler.dashboard.bokeh-application")
    return given | _BOKEH
