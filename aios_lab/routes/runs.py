"""Runs: a kernel begins and reports them; their owner watches and stops them."""

from __future__ import annotations

from functools import partial

from aios_lab.broker.errors import Refused
from aios_lab.routes.call import Call, Query, Route
from aios_lab.training.begun import new_run_id
from aios_lab.wire import Run, RunLog, RunOrder, RunRequest, RunUpdate


def visible(call: Call) -> list[Run]:
    """A person sees the runs of their own, a kernel those of its slice, and its user's detached ones."""
    return call.services.runs.list(call.caller.user, call.caller.slice_id)


def own_run(call: Call, run_id: str) -> Run:
    """Raises: Refused, 404 for a run that is not there, 403 for another's."""
    run = call.services.runs.get(run_id)
    if not (run.detached and run.user == call.caller.user):
        call.caller.must_own_slice(run.slice_id, run.user)
    return run.model_copy(update={"mine": True})


def readable_run(call: Call, run_id: str) -> Run:
    """As ``own_run``; to look at, also what ended in another notebook of the same user's."""
    run = call.services.runs.get(run_id)
    if run.ended is not None and run.user == call.caller.user:
        return run
    return own_run(call, run_id)


def _own_kernel(call: Call) -> str:
    if call.caller.slice_id is None:
        raise Refused(
            403,
            "Only a kernel can begin or report a run.",
            "forbidden",
            "Use aios.train() or %%aios train in a notebook.",
        )
    return call.caller.slice_id


async def list_runs(call: Call) -> list[Run]:
    return visible(call)


async def get_run(call: Call) -> Run:
    return readable_run(call, call.ids["run_id"])


async def get_log(call: Call) -> RunLog:
    run, services = readable_run(call, call.ids["run_id"]), call.services
    work = partial(services.runs.log, run.id, int(call.query["rank"]), int(call.query["lines"]))
    return await services.in_thread(work)


async def begin(call: Call) -> Run:
    slice_id = _own_kernel(call)
    broker, runs, run_id = call.services.broker, call.services.runs, new_run_id()
    # before MLflow is asked, which may take seconds
    broker.holds.pin(slice_id, run_id, call.body.world_size, call.body.detached)
    try:
        run = await runs.begin(call.body, slice_id, call.caller.user, run_id)
    except BaseException:
        broker.holds.unpin(slice_id, run_id)
        raise
    if not broker.living(slice_id):  # it ended meanwhile, when this run was not yet known
        runs.end_of_slice(slice_id, "The slice ended while this run began.")
    return runs.get(run.id)


async def update(call: Call) -> RunOrder:
    _own_kernel(call)
    run = call.services.runs.get(call.ids["run_id"])
    call.caller.must_own_slice(run.slice_id, run.user)
    return call.services.runs.update(run.id, call.body)


async def stop(call: Call) -> Run:
    run = own_run(call, call.ids["run_id"])
    return call.services.runs.stop(run.id, bool(call.query["kill"]))


ROUTES = (
    Route(
        "GET",
        "runs",
        list_runs,
        "The caller's runs, newest first; those that have ended are abridged.",
        {200: list[Run]},
    ),
    Route("POST", "runs", begin, "A kernel begins a run on its slice.", {200: Run}, body=RunRequest),
    Route("GET", "runs/{run_id}", get_run, "One run.", {200: Run}),
    Route(
        "GET",
        "runs/{run_id}/log",
        get_log,
        "The end of what one rank of a run printed.",
        {200: RunLog},
        query=(
            Query("rank", 0, 100_000, 0, "which rank"),
            Query("lines", 1, 10_000, 2_000, "how many lines at most"),
        ),
    ),
    Route(
        "PATCH",
        "runs/{run_id}",
        update,
        "A kernel tells of a run until its ranks begin, how its data loads or why it cannot begin; all else "
        "comes from the slice itself.",
        {200: RunOrder},
        body=RunUpdate,
    ),
    Route(
        "POST",
        "runs/{run_id}/stop",
        stop,
        "Stop a run: with kill=0 it keeps what it has so far.",
        {200: Run},
        query=(Query("kill", 0, 1, 0, "1 ends the processes at once"),),
    ),
)
