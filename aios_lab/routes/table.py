"""Every endpoint, by resource."""

from __future__ import annotations

from typing import Any

from aios_lab.routes import cluster, jobs, models, replays, runs, slices
from aios_lab.routes.call import Call, Route
from aios_lab.routes.openapi import document


async def openapi(call: Call) -> dict[str, Any]:
    return document(ROUTES)


ROUTES: tuple[Route, ...] = (
    Route("GET", "openapi.json", openapi, "This document.", {200: dict}),
    *cluster.ROUTES,
    *slices.ROUTES,
    *runs.ROUTES,
    *models.ROUTES,
    *jobs.ROUTES,
    *replays.ROUTES,
)
