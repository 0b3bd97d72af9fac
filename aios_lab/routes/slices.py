"""Slices: list, resize, first use, give back, connect."""

from __future__ import annotations

from aios_lab.broker.errors import Refused
from aios_lab.routes.call import Answer, Call, Query, Route
from aios_lab.wire import ClaimRequest, Connection, Dashboard, Forecast, Slice, WhatIf

LONGEST_WAIT = 20.0


def _own(call: Call) -> str:
    """The slice of the path. Raises: Refused, 404 for one that is not there, 403 for another's."""
    slice_id = call.ids["slice_id"]
    call.caller.must_own_slice(slice_id, call.services.broker.owner(slice_id).user)
    return slice_id


def _view(call: Call, slice_id: str) -> Slice:
    """The slice as the caller may see it."""
    for one in _views(call):
        if one.id == slice_id:
            return one
    return call.services.broker.view(slice_id)  # raises the 404 that says so


def _views(call: Call) -> list[Slice]:
    caller = call.caller
    user = caller.user if caller.slice_id is None else None
    use = call.services.use
    return [use.on_slice(one) for one in call.services.broker.views(user, caller.slice_id)]


async def list_slices(call: Call) -> list[Slice]:
    return _views(call)


async def get_slice(call: Call) -> Slice:
    return _view(call, _own(call))


async def resize(call: Call) -> Slice:
    slice_id = _own(call)
    call.services.broker.request(slice_id, call.body)
    await call.services.broker.decided(slice_id, call.query["wait"])
    return _view(call, slice_id)


async def activate(call: Call) -> Slice:
    slice_id = _own(call)
    call.services.broker.activate(slice_id)
    return _view(call, slice_id)


async def release(call: Call) -> Slice:
    slice_id = _own(call)
    call.services.broker.release(slice_id)
    return _view(call, slice_id)


async def ask_to_free(call: Call) -> Slice:
    """Whoever waits for a device may ask; a kernel only its own user."""
    slice_id, caller = call.ids["slice_id"], call.caller
    owner = call.services.broker.owner(slice_id).user
    if caller.slice_id is not None:
        caller.must_own_slice(slice_id, owner)
    await call.services.use.ask(slice_id, caller.user)
    call.services.feed.changed("slices")
    return _view(call, slice_id)


async def forecast(call: Call) -> Forecast:
    return await call.services.broker.forecast(_own(call))


async def what_if(call: Call) -> WhatIf:
    return await call.services.broker.what_if(_own(call), call.body)


async def dashboard(call: Call) -> Dashboard:
    return Dashboard(socket=str(await call.services.broker.dashboard(_own(call))))


async def connect(call: Call) -> Connection | Answer:
    """The credentials of a slice go to its own kernel and to nobody else, not even its user's browser."""
    slice_id = call.ids["slice_id"]
    call.services.broker.owner(slice_id)  # 404 where there is none
    if call.caller.slice_id != slice_id:
        raise Refused(
            403,
            f"Only the kernel of slice {slice_id} may connect to it.",
            "forbidden",
            "Use aios.client() in the notebook that owns the slice.",
        )
    connection = await call.services.broker.connection(slice_id, call.query["wait"])
    if connection is None:
        return Answer(_view(call, slice_id), status=202)
    return connection


DASHBOARD = Route(
    "GET",
    "slices/{slice_id}/dashboard",
    dashboard,
    "Have a Dask dashboard made, which aios/slices/{slice_id}/dashboard/status shows.",
    {200: Dashboard},
)

ROUTES = (
    DASHBOARD,
    Route("GET", "slices", list_slices, "All slices; others' without their details.", {200: list[Slice]}),
    Route("GET", "slices/{slice_id}", get_slice, "One slice.", {200: Slice}),
    Route(
        "PATCH",
        "slices/{slice_id}",
        resize,
        "Ask for another size. The slice is active from now on.",
        {200: Slice},
        body=ClaimRequest,
        query=(Query("wait", 0, LONGEST_WAIT, 0, "seconds to wait until it is decided what it gets"),),
    ),
    Route(
        "DELETE",
        "slices/{slice_id}",
        release,
        "Give back all it holds; the claim sleeps until its next use.",
        {200: Slice},
    ),
    Route(
        "POST",
        "slices/{slice_id}/activate",
        activate,
        "First use of a sleeping claim; harmless when it is active.",
        {200: Slice},
    ),
    Route(
        "POST",
        "slices/{slice_id}/ask-to-free",
        ask_to_free,
        "Ask its owner to free the GPU memory that its kernel itself holds.",
        {200: Slice},
    ),
    Route(
        "GET",
        "slices/{slice_id}/forecast",
        forecast,
        "When it gets what it waits for, with an interval, and why it waits.",
        {200: Forecast},
    ),
    Route(
        "POST",
        "slices/{slice_id}/what-if",
        what_if,
        "What another request would bring; nothing is asked for.",
        {200: WhatIf},
        body=ClaimRequest,
    ),
    Route(
        "GET",
        "slices/{slice_id}/connection",
        connect,
        "How the slice's own kernel reaches its Dask scheduler; 202 with the slice while it waits.",
        {200: Connection, 202: Slice},
        query=(Query("wait", 0, LONGEST_WAIT, 0, "seconds to wait for the first workers"),),
    ),
)
