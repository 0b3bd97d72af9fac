"""Compression jobs in real processes, followed by the server's side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import torch
from torch import nn

from aios_lab.engines import spawn
from aios_lab.models.errors import BadRequest, NotFound
from aios_lab.models.jobs import Jobs
from aios_lab.models.registry import Registry
from aios_lab.wire import CompressRequest, Job, JobState

Use = Callable[[Jobs], Awaitable[None]]


def with_jobs(registry: Registry, use: Use) -> list[Job]:
    """Run ``use`` on an event loop; returns every change that was told."""
    changes: list[Job] = []

    async def main() -> None:
        jobs = Jobs(registry.store.uri, registry.artifacts.root, changes.append)
        try:
            await use(jobs)
        finally:
            await jobs.stop()

    asyncio.run(main())
    return changes


def test_a_job_compresses_in_another_process(registry: Registry) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(30, 20), torch.randint(4, (30,))
    registry.register(nn.Sequential(nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 4)), "m", evaluation=(x, y))

    async def use(jobs: Jobs) -> None:
        started = jobs.compress("m", 1, CompressRequest(ratio=0.5), "ada")
        assert started.state is JobState.RUNNING
        assert jobs.list("ada") == [started]
        assert jobs.list("bob") == []
        refused = jobs.compress("m", 1, CompressRequest(energy=1.0), "bob")
        missing = jobs.compress("nothing", None, CompressRequest(), "bob")
        done = await jobs.wait(started.id)
        assert done.state is JobState.FINISHED, done.problem
        assert done.report is not None
        assert done.report.after.parameters < done.report.before.parameters
        assert set(done.report.after.metrics) == {"accuracy"}
        assert done.report.version == registry.get("m", 2)
        for job, reason in ((refused, "nothing_to_shrink"), (missing, "not_found")):
            failed = await jobs.wait(job.id)
            assert failed.state is JobState.FAILED
            assert failed.problem is not None
            assert failed.problem.reason == reason

    changes = with_jobs(registry, use)
    progress = [job.progress for job in changes if job.title == "Compress m version 1" and job.report is None]
    assert len(progress) > 3


def test_a_killed_process_fails_its_job(registry: Registry) -> None:
    registry.register(nn.Sequential(nn.Linear(600, 600)), "m")

    async def use(jobs: Jobs) -> None:
        job = jobs.compress("m", 1, CompressRequest(ratio=0.5), "ada")
        while not (family := await asyncio.to_thread(spawn.family)):
            await asyncio.sleep(0.01)
        for pid in family:
            spawn.kill(pid)
        failed = await jobs.wait(job.id)
        assert failed.state is JobState.FAILED
        assert failed.problem is not None
        assert failed.problem.reason == "crashed"

    with_jobs(registry, use)
    assert len(registry.versions("m")) == 1


def test_stopping_leaves_no_process(registry: Registry) -> None:
    registry.register(nn.Sequential(nn.Linear(600, 600)), "m")

    async def use(jobs: Jobs) -> None:
        job = jobs.compress("m", 1, CompressRequest(ratio=0.5), "ada")
        while not await asyncio.to_thread(spawn.family):
            await asyncio.sleep(0.01)
        await jobs.stop()
        stopped = jobs.get(job.id)
        assert stopped.state is JobState.FAILED
        assert stopped.problem is not None
        assert stopped.problem.reason == "stopped"
        assert await asyncio.to_thread(spawn.family) == {}

    with_jobs(registry, use)


def test_what_cannot_be_asked(registry: Registry) -> None:
    async def use(jobs: Jobs) -> None:
        with pytest.raises(BadRequest):
            jobs.compress("a/b", 1, CompressRequest(), "ada")
        with pytest.raises(NotFound):
            jobs.get("j-0")

    with_jobs(registry, use)
