"""The SDK of a notebook, public as ``aios_lab``: ``import aios_lab as aios``.

Light to import: Dask, torch and MLflow are loaded by the first call that needs them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from aios_lab.notebook.connect import Connector
    from aios_lab.notebook.outlook import ForecastView, WhatIfView
    from aios_lab.notebook.resizing import Callback
    from aios_lab.notebook.server import Server
    from aios_lab.notebook.view import SliceView
    from aios_lab.training import Run

__all__ = [
    "attach",
    "client",
    "forecast",
    "models",
    "on_resize",
    "release",
    "request",
    "resume",
    "slice",
    "train",
    "why",
]

if TYPE_CHECKING:
    models: Any

MOMENT = 1.0  # seconds that the broker gets to decide before a cell shows what it knows
ASK_EVERY = 0.05  # seconds between looks: the server answers for a slice at once, with what it is now

_connectors: dict[str, Connector] = {}


def __getattr__(name: str) -> Any:
    if name == "models":
        return import_module("aios_lab.models")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def request(
    workers: int | None = None,
    memory: str | int | None = None,
    gpus: float | None = None,
    cpus: float | None = None,
    priority: str | None = None,
    min_workers: int | None = None,
    project: str | None = None,
    duration: float | None = None,
    **unknown: Any,
) -> SliceView:
    """Ask for another size of this kernel's slice; what is left out stays as it is.

    Returns as soon as it is decided what it gets, or after a second with what is known by then.

    Args:
        workers: at most so many; ``min_workers``: start only with so many.
        memory: of each worker, as '2GB', '512MiB' or bytes.
        cpus: threads of each worker; ``gpus``: accelerators of each.
        priority: 'low', 'normal' or 'high'.
        project: whose quota it counts against.
        duration: expected seconds of use.

    Raises:
        AIOSError: the request cannot be granted by any wait, or makes no sense.
    """
    given = {
        "workers": workers,
        "memory": memory,
        "gpus": gpus,
        "cpus": cpus,
        "priority": priority,
        "min_workers": min_workers,
        "project": project,
        "duration": duration,
    }
    return _slice("PATCH", _named("request", given, unknown), f"?wait={MOMENT:g}")


def client(timeout: float | None = None) -> Client:
    """The Dask client of my slice, connected. Wakes the slice, and waits for its first worker saying why.

    The same client comes back while it is connected, also after the slice changed its size.

    Raises:
        AIOSError: no worker within ``timeout`` seconds (None waits as long as it takes), or no server.
        Interrupted: the kernel was interrupted while it waited.
    """
    return _connector().client(timeout)


def slice() -> SliceView:  # the name is the public word for what it returns
    """My slice as it is now. Raises AIOSError where this process has none."""
    return _slice("GET")


def why() -> str:
    """Why my slice has less than it asked for, and when it gets more.

    Raises AIOSError where this process has no slice.
    """
    from aios_lab.notebook.outlook import why_and_when
    from aios_lab.notebook.view import why as explain

    one = slice()
    waits = not (one.dormant or one.parked) and one.target < one.max_workers and not one.problem
    return why_and_when(one, _forecast()) if waits else explain(one)


def forecast(
    workers: int | None = None,
    memory: str | int | None = None,
    gpus: float | None = None,
    cpus: float | None = None,
    priority: str | None = None,
    min_workers: int | None = None,
    project: str | None = None,
    duration: float | None = None,
    **unknown: Any,
) -> ForecastView | WhatIfView:
    """When my slice gets what it waits for; with options, what asking for that would bring.

    Options are those of ``request``; nothing is asked for. The answer shows itself; its times are seconds
    since the epoch, and none where nobody can tell.

    Raises:
        AIOSError: no wait could fulfil such a request, it makes no sense, or this process has no slice.
    """
    from aios_lab.notebook.outlook import WhatIfView

    given = {
        "workers": workers,
        "memory": memory,
        "gpus": gpus,
        "cpus": cpus,
        "priority": priority,
        "min_workers": min_workers,
        "project": project,
        "duration": duration,
    }
    asked = _named("forecast", given, unknown)
    if not asked:
        return _forecast()
    server = _server()
    return server.call("POST", f"slices/{server.slice_id}/what-if", WhatIfView, _claim(asked))


def release() -> SliceView:
    """Give all workers back; the next ``client()`` or training asks for them again.

    Returns when they are gone, or after a second with what is still to go.
    """
    from aios_lab.notebook.devices import show

    given_back = _slice("DELETE")
    connector = _connectors.get(_server().slice_id)
    if connector is not None:
        connector.close()
    show([])
    deadline = time.monotonic() + MOMENT
    while given_back.workers and time.monotonic() < deadline:
        time.sleep(ASK_EVERY)
        given_back = slice()
    return given_back


def on_resize(callback: Callback) -> Callable[[], None]:
    """Call back when the workers of my slice become more or fewer: before it happens, and after.

    Of changes while an ``aios.client()`` or a training is connected. Callbacks run one after another in a
    thread of their own, each with a ``ResizeEvent``; what one raises is shown and disturbs nothing.

    Returns a function that forgets the callback. Raises TypeError for what cannot be called.
    """
    from aios_lab.notebook.resizing import notices

    return notices.call_back(callback)


def train(
    function: Callable[..., Any] | None = None,
    script: str | os.PathLike[str] | None = None,
    args: Sequence[Any] = (),
    workers: int | None = None,
    strategy: str = "ddp",
    detach: bool = False,
    client: Client | None = None,
    **options: Any,
) -> Run:
    """Train on the workers of my slice, or of ``client``, and show it live.

    Args:
        function: called on every rank, as ``function(ctx, *args, **options)``.
        script: instead of a function, the path or the text of a script that torchrun would run.
        workers: ranks; more than the slice has are asked for and waited for first. None takes all there are.
        detach: return at once and let it run, also when this kernel or the server ends; ``attach`` finds it
            again. With ``wait=False`` instead it returns at once too, and the run ends with this kernel.
        options: of the run, such as ``name`` and ``data`` (for ``ctx.data``), and for the function.

    Raises:
        AIOSError: the server refuses the run, or this process has no slice and no ``client`` was given.
        TrainingFailed: a rank failed; the message carries its traceback.
        Interrupted: the kernel was interrupted, and with it the run.
    """
    from aios_lab.notebook.display import watch

    wait = options.pop("wait", True) and not detach
    run = begin(function, script, args, workers, strategy, client, detach=detach, **options)
    if wait:
        watch(run)
    return run


def attach(run: str | None = None) -> Run:
    """A handle on a run that goes on, or has ended: with its history, and as if it had begun here.

    Args:
        run: its id or its name: a run of this notebook, or a detached one of any notebook of this user's.
            The newest that goes on when left out.

    Raises:
        AIOSError: there is no such run, or this process has no server.
    """
    from aios_lab.notebook.attach import attach as attach_to

    return attach_to(_server(), run)


def resume(run: str | Run, step: int | None = None, workers: int | None = None, detach: bool = False) -> Run:
    """Train on from a checkpoint of another run, as a run of its own: with the same function and options.

    Args:
        run: the other run, or its id.
        step: which of its checkpoints; the newest when left out.
        workers: ranks, when others than that run was begun with.
        detach: as in ``train``.

    Raises:
        AIOSError: there is no such run or checkpoint. Else as ``train``.
    """
    from aios_lab.notebook.display import watch

    resumed = begin_again(run, step, workers, detach)
    if not detach:
        watch(resumed)
    return resumed


def begin_again(run: str | Run, step: int | None, workers: int | None, detach: bool) -> Run:
    """The part of ``resume`` before the watching."""
    from aios_lab.notebook.again import recall

    call = recall(_server(), run if isinstance(run, str) else run.id, step)
    return begin(**{**call, "workers": workers or call["workers"], "detach": detach})


def begin(
    function: Callable[..., Any] | None,
    script: str | os.PathLike[str] | None,
    args: Sequence[Any],
    workers: int | None,
    strategy: str,
    client: Client | None = None,
    **options: Any,
) -> Run:
    """The part of ``train`` before the watching: returns as soon as the run has begun."""
    from aios_lab.notebook.again import keep
    from aios_lab.training import train as start

    call = {"function": function, "script": script, "args": args, "workers": workers, "strategy": strategy}
    call.update(options)
    if client is None:
        client = _client_with(workers)
        options["tracker"] = _tracker()
    run = start(
        function, script=script, args=args, client=client, workers=workers, strategy=strategy, **options
    )
    try:
        keep(run.folder, call)
    except BaseException:  # an interrupt: nobody holds the run
        run.cancel()
        raise
    return run


def _client_with(workers: int | None) -> Client:
    if workers is not None:
        _claim({"workers": workers})  # refuses what is no number of workers
        if slice().max_workers < workers:
            request(workers=workers)
    connector = _connector()
    client = connector.client()
    connector.wait_for_workers(client, workers)
    return client


def _tracker() -> Any:
    from aios_lab.notebook.errors import AIOSError
    from aios_lab.notebook.tracker import HTTPTracker

    folder = os.environ.get("AIOS_RUNS")
    if folder is None:
        raise AIOSError(
            "The server did not say where runs are kept.",
            "no_runs",
            "Restart the kernel; AIOS_RUNS is not set.",
        )
    return HTTPTracker(_server(), folder)


def _server() -> Server:
    from aios_lab.notebook.server import Server

    return Server.from_environment()


def _connector() -> Connector:
    from aios_lab.notebook.connect import Connector

    server = _server()
    return _connectors.setdefault(server.slice_id, Connector(server))


def _slice(method: str, given: dict[str, Any] | None = None, query: str = "") -> SliceView:
    from aios_lab.notebook.view import SliceView

    server = _server()
    body = None if given is None else _claim(given)
    return server.call(method, f"slices/{server.slice_id}{query}", SliceView, body)


def _forecast() -> ForecastView:
    from aios_lab.notebook.outlook import ForecastView

    server = _server()
    return server.call("GET", f"slices/{server.slice_id}/forecast", ForecastView)


def _named(function: str, given: dict[str, Any], unknown: dict[str, Any]) -> dict[str, Any]:
    """The options that were given. Raises AIOSError for one that there is not."""
    if unknown:
        from aios_lab.notebook.errors import AIOSError, did_you_mean

        name = next(iter(unknown))
        near = did_you_mean(name, given)
        raise AIOSError(
            f"aios.{function}() has no option {name!r}.{near}", "bad_request", f"It takes {', '.join(given)}."
        )
    return {name: value for name, value in given.items() if value is not None}


def _claim(given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from aios_lab.notebook.errors import AIOSError
    from aios_lab.wire import ClaimRequest

    try:
        return ClaimRequest(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, said = first["loc"][0], first["msg"]
        raise AIOSError(
            f"{name}={given[str(name)]!r} is not possible: {said[:1].lower()}{said[1:]}.",
            "bad_request",
            "For example: aios.request(workers=2, memory='2GB', priority='high').",
        ) from None
