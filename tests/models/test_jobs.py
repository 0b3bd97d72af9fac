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


def test_jobs_wait_for_their_turn(registry: Registry) -> None:
    """One a user, two in all, in the order in which they came."""
    registry.register(nn.Sequential(nn.Linear(20, 20)), "m")
    titles: dict[str, str] = {}

    async def use(jobs: Jobs) -> None:
        for user in ("ada", "ada", "bob", "cy", "ada"):
            job = jobs.compress("m", 1, CompressRequest(ratio=0.5), user)
            titles[job.id] = f"{user}{len(titles)}"
        shown = [(titles[job.id], job.state.value) for job in reversed(jobs.list())]
        assert shown == [
            ("ada0", "running"),
            ("ada1", "queued"),
            ("bob2", "running"),
            ("cy3", "queued"),
            ("ada4", "queued"),
        ]
        for job_id in titles:
            assert (await jobs.wait(job_id)).state is JobState.FINISHED

    changes = with_jobs(registry, use)
    running: set[str] = set()
    begun: list[str] = []
    for job in changes:
        if job.state is not JobState.RUNNING:
            running.discard(titles[job.id])
        elif titles[job.id] not in running:
            begun.append(titles[job.id])
            running.add(titles[job.id])
        assert len(running) <= 2
        assert len({title.rstrip("0123456789") for title in running}) == len(running)
    assert [title for title in begun if title.startswith("ada")] == ["ada0", "ada1", "ada4"]


def test_stopping_ends_also_those_that_wait(registry: Registry) -> None:
    registry.register(nn.Sequential(nn.Linear(600, 600)), "m")

    async def use(jobs: Jobs) -> None:
        ids = [jobs.compress("m", 1, CompressRequest(ratio=0.5), "ada").id for _ in range(3)]
        await jobs.stop()
        problems = [jobs.get(job_id).problem for job_id in ids]
        assert [problem and problem.reason for problem in problems] == ["stopped"] * 3
        assert await asyncio.to_thread(spawn.family) == {}

    with_jobs(registry, use)


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
