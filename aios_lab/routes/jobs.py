"""Jobs: work of some seconds that the server does for a user."""

from __future__ import annotations

from aios_lab.broker.errors import Refused
from aios_lab.routes.call import Call, Route
from aios_lab.wire import Job


async def list_jobs(call: Call) -> list[Job]:
    return call.services.jobs.list(call.caller.user)


async def get_job(call: Call) -> Job:
    job = call.services.jobs.get(call.ids["job_id"])
    if job not in call.services.jobs.list(call.caller.user):
        raise Refused(
            403, f"Job {job.id} belongs to another user.", "forbidden", "The panel lists jobs of yours."
        )
    return job


ROUTES = (
    Route("GET", "jobs", list_jobs, "The caller's jobs, newest first.", {200: list[Job]}),
    Route("GET", "jobs/{job_id}", get_job, "One job.", {200: Job}),
)
