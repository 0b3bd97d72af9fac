"""Every endpoint, by resource."""

from __future__ import annotations

from aios_lab.routes import cluster, jobs, models, openapi, runs, slices
from aios_lab.routes.call import Route

ROUTES: tuple[Route, ...] = (
    *openapi.ROUTES,
    *cluster.ROUTES,
    *slices.ROUTES,
    *runs.ROUTES,
    *models.ROUTES,
    *jobs.ROUTES,
)
