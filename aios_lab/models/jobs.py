"""The server's side of jobs: start them as processes, follow what they tell, remember the last ones."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from aios_lab.engines.spawn import SpawnError
from aios_lab.engines.telling import follow
from aios_lab.wire import CompressReport, CompressRequest, Job, JobState, Problem

from .errors import NotFound
from .values import check_name

_TARGET = "aios_lab.models.job:compress_job"
_KEPT = 100  # finished jobs a server remembers
_LINE = 32 << 20  # bytes of one message: a report has a line a layer
_AT_ONCE = 2  # jobs of all users that run at the same time: each loads torch and a model
_ALIVE = (JobState.QUEUED, JobState.RUNNING)


class Jobs:
    """Compressions in processes of their own, for the users of one server.

    A user has one running at a time, and all users two; the others wait in the order in which they came.

    Args:
        tracking_uri, artifact_root: of the registry.
        on_change: called on the event loop with each job that changed.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: str | os.PathLike[str],
        on_change: Callable[[Job], None] | None = None,
    ) -> None:
        self._registry = {"tracking_uri": tracking_uri, "artifact_root": os.fspath(artifact_root)}
        self._on_change = on_change
        self._jobs: dict[str, Job] = {}
        self._owners: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.Event] = {}  # by job, oldest first; set when its turn has come
        self._running: set[str] = set()

    def compress(self, name: str, version: int | None, request: CompressRequest, user: str) -> Job:
        """Have a version compressed, now or in its turn; returns at once. Must be called on the event loop.

        Raises:
            BadRequest: the name cannot be a model's. All else that is wrong shows as the job's problem.
        """
        check_name(name)
        shown = name if version is None else f"{name} version {version}"
        job = Job(
            id=f"j-{secrets.token_hex(5)}",
            kind="compress",
            title=f"Compress {shown}",
            state=JobState.QUEUED,
            note="waiting for its turn",
        )
        order = {**self._registry, **request.model_dump(), "name": name, "version": version, "user": user}
        self._owners[job.id] = user
        self._set(job)
        self._waiting[job.id] = turn = asyncio.Event()
        self._tasks[job.id] = asyncio.create_task(self._run(job.id, json.dumps(order).encode(), turn))
        self._call_next()
        return self.get(job.id)

    def _call_next(self) -> None:
        """Let those waiting begin that may."""
        busy = {self._owners[job_id] for job_id in self._running}
        for job_id, turn in list(self._waiting.items()):
            owner = self._owners[job_id]
            if len(self._running) < _AT_ONCE and owner not in busy:
                del self._waiting[job_id]
                self._running.add(job_id)
                busy.add(owner)
                self._set(self._jobs[job_id].model_copy(update={"state": JobState.RUNNING, "note": ""}))
                turn.set()

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: it is unknown, or too long ago.
        """
        try:
            return self._jobs[job_id]
        except KeyError:
            raise NotFound(
                f"There is no job {job_id}.", "The server keeps its last jobs only until it restarts."
            ) from None

    def list(self, user: str | None = None) -> list[Job]:
        """The jobs of a user, or of all, newest first."""
        return [job for job in reversed(self._jobs.values()) if user in (None, self._owners[job.id])]

    async def wait(self, job_id: str) -> Job:
        """Await the end of a job."""
        if task := self._tasks.get(job_id):
            await asyncio.wait([task])
        return self.get(job_id)

    async def stop(self) -> None:
        """Kill what still runs, forget what waits; on return no process is left."""
        self._waiting.clear()  # none of these begins when a running one ends
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id, job in self._jobs.items():
            if job.state in _ALIVE:  # its task was cancelled before its first step
                self._fail(job_id, _stopped())
        self._tasks.clear()
        self._running.clear()

    async def _run(self, job_id: str, payload: bytes, turn: asyncio.Event) -> None:
        try:
            await turn.wait()
            code = await follow(_TARGET, payload, partial(self._hear, job_id), _LINE)
            if self._jobs[job_id].state is JobState.RUNNING:
                self._fail(job_id, _crashed(code))
        except SpawnError as error:
            self._fail(job_id, _not_started(error))
        except ValueError:  # what the process told is no message of ours
            self._fail(job_id, _crashed(None))
        except asyncio.CancelledError:
            if self._jobs[job_id].state in _ALIVE:
                self._fail(job_id, _stopped())
            raise
        finally:
            self._tasks.pop(job_id, None)
            self._waiting.pop(job_id, None)
            self._running.discard(job_id)
            self._call_next()
            self._forget()

    def _hear(self, job_id: str, message: Any) -> None:
        job = self._jobs[job_id]
        match message:
            case {"progress": progress, "note": note}:
                self._set(job.model_copy(update={"progress": progress, "note": note}))
            case {"report": report}:
                done = {"state": JobState.FINISHED, "progress": 1.0, "note": ""}
                self._set(job.model_copy(update={**done, "report": CompressReport.model_validate(report)}))
            case {"problem": problem}:
                self._fail(job_id, Problem.model_validate(problem))

    def _fail(self, job_id: str, problem: Problem) -> None:
        failed = {"state": JobState.FAILED, "note": "", "problem": problem}
        self._set(self._jobs[job_id].model_copy(update=failed))

    def _set(self, job: Job) -> None:
        self._jobs[job.id] = job
        if self._on_change is not None:
            self._on_change(job)

    def _forget(self) -> None:
        ended = [job_id for job_id in self._jobs if job_id not in self._tasks]
        for job_id in ended[:-_KEPT]:
            del self._jobs[job_id], self._owners[job_id]


def _crashed(code: int | None) -> Problem:
    how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
    return Problem(
        message=f"The process that compressed the model ended without a result{how}.",
        reason="crashed",
        hint="It may have run out of memory; nothing was registered. Try again, or see the server's log.",
    )


def _not_started(error: SpawnError) -> Problem:
    return Problem(message=str(error), reason="not_started", hint="Try again, or restart the server.")


def _stopped() -> Problem:
    return Problem(
        message="The server stopped before the model was compressed.",
        reason="stopped",
        hint="Start it again; nothing was registered.",
    )
