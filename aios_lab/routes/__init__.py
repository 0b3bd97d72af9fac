"""REST and websocket: parse, authorise, call, serialise; nothing else."""

from __future__ import annotations

import re
from typing import Any

from aios_lab.routes.base import RouteHandler
from aios_lab.routes.call import Route
from aios_lab.routes.dashboard import PATH, DashboardHandler
from aios_lab.routes.services import Services
from aios_lab.routes.stream import StreamHandler
from aios_lab.routes.table import ROUTES

__all__ = ["ROUTES", "Services", "handlers"]


def handlers(services: Services) -> list[tuple[str, type, dict[str, Any]]]:
    """Tornado's handler list, relative to the server's base URL. The last answers for unknown endpoints."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    return [
        (r"/aios/api/stream", StreamHandler, {"services": services}),
        (PATH, DashboardHandler, {"services": services}),
        *(
            (_pattern(path), RouteHandler, {"services": services, "routes": methods})
            for path, methods in by_path.items()
        ),
        (r"/aios/api(?:/.*)?", RouteHandler, {"services": services}),
    ]


def _pattern(path: str) -> str:
    return r"/aios/api/" + re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path.replace(".", r"\."))
