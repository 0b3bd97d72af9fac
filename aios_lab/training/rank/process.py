"""One rank: a process of its own below its Dask worker, that runs the user's code and tells how it went."""

from __future__ import annotations

import faulthandler
import functools
import gc
import io
import linecache
import os
import pickle
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import cloudpickle

from aios_lab.training.errors import Stopped
from aios_lab.training.failures import blames_a_peer
from aios_lab.training.rank import script
from aios_lab.training.rank.context import Context
from aios_lab.training.rank.link import Link
from aios_lab.training.spec import RESULT_LIMIT, STOP_LAG, RankSpec, Work

_OWN_FILES = (__file__, script.__file__, "<frozen runpy>")
LONGEST_ERROR, LONGEST_TRACEBACK = 4_000, 50_000  # characters that are told
_CATCHING_UP = (
    "This run goes on from a checkpoint: its function began anew, and loops over the prepared DataLoader "
    "yield nothing for epochs that are done. Write 'for epoch in ctx.epochs(n)' to begin with the one that "
    "is not."
)
_kept_groups: list[Any] = []  # process groups, held until os._exit: see _keep_process_groups


def main(payload: bytes, fds: dict[str, int]) -> NoReturn:
    """What a supervisor spawns: ``payload`` is a pickled (RankSpec, packed Work)."""
    spec, work = pickle.loads(payload)
    link = Link(fds["messages"], fds["control"])
    _prepare(spec, link)
    _leave(link, _attempt(spec, work, link))


def _prepare(spec: RankSpec, link: Link) -> None:
    faulthandler.enable()
    socket.setdefaulttimeout(None)
    sys.path[:] = [spec.cwd, *(entry for entry in sys.path if entry not in ("", spec.cwd))]
    sys.path += [entry for entry in spec.path if entry not in sys.path]
    for name, lines in spec.sources.items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        if not link.stopping.is_set():  # the code's own signal to itself
            raise KeyboardInterrupt
        if link.interrupts:
            link.raised = True
            raise Stopped("the run was stopped")

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a server under nohup ignores it


def _attempt(spec: RankSpec, packed: bytes, link: Link) -> dict[str, Any]:
    """Run the work; what came of it as a message: outcome, code, error, traceback, result."""
    context: Context | None = None
    try:
        _ready_torch(spec)
        work: Work = cloudpickle.loads(packed)
        context = Context(spec, link, lambda: _leave(link, _outcome("paused")), work.data)
        link.at_once = not work.wants_context
        link.send("ready", {"pid": os.getpid(), "host": socket.gethostname()})
        if not link.await_go():
            return _outcome("stopped")
        os.environ.update(link.environment)
        value = _call(_callable(spec, work, context), link)
    except Stopped:
        _save_trained(context)
        return _outcome("stopped")
    except SystemExit as error:
        return _exited(error, link)
    except BaseException as error:  # the user's code may raise anything; the kernel must hear of it
        if not _cut_off_by_a_stop(error, link):
            if context is not None and context.catching_up:
                error.add_note(_CATCHING_UP)
            return _failed(error)
        link.raised = True
        _save_trained(context)
        return _outcome("stopped")
    context.finish()
    value = _unwrapped(context, value)
    if context.rank == 0:
        return _outcome("stopped" if link.raised else "ok", **_packed_result(value))
    return _outcome("stopped" if link.raised else "ok")


def _cut_off_by_a_stop(error: BaseException, link: Link) -> bool:
    """Whether this rank failed only because a peer, which a stop reached first, left their collective."""
    return blames_a_peer(str(error)) and link.stopping.wait(STOP_LAG)


def _ready_torch(spec: RankSpec) -> None:
    import torch

    torch.set_num_threads(spec.threads)
    # A rank alone saves and loads without a group, and reads its part so: nothing that a user could mend.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    if spec.seed is not None:
        torch.manual_seed(spec.seed)
    _keep_process_groups()


def _keep_process_groups() -> None:
    """Hold every process group until this process ends.

    When DDP goes out of scope after destroy_process_group(), ~ProcessGroupGloo joins its thread while it
    holds the GIL, and about a quarter of the processes hang for ever (pytorch #56297, #190489). A group that
    is still referenced is not destructed, and os._exit takes it along.
    """
    import torch.distributed as dist
    from torch.distributed import distributed_c10d as c10d

    destroy = dist.destroy_process_group

    def destroy_and_keep(group: Any = None) -> None:
        _kept_groups.extend(c10d._world.pg_map)
        destroy(group)

    dist.destroy_process_group = c10d.destroy_process_group = destroy_and_keep


def _callable(spec: RankSpec, work: Work, context: Context) -> Callable[[], Any]:
    if work.script is not None:
        return functools.partial(script.run, spec, work.script)
    function = work.function
    assert function is not None
    given = (context, *work.args) if work.wants_context else work.args
    return lambda: function(*given, **(work.options or {}))


def _call(function: Callable[[], Any], link: Link) -> Any:
    rank = os.getpid()
    try:
        link.interrupts = True
        if link.stopping.is_set():
            raise Stopped("the run was stopped")
        value = function()
    finally:
        link.interrupts = False
    if os.getpid() != rank:  # a process that the function forked: what it returns is nobody's result
        raise SystemExit
    return value


def _unwrapped(context: Context, value: Any) -> Any:
    """The result as users know it: a model without its wrapping, saved with the run."""
    import torch

    value = context.whole_result(value)
    if not isinstance(value, torch.nn.Module):
        return value
    _save(context, value)
    return value.to("cpu")


def _save_trained(context: Context | None) -> None:
    """Save what was being trained when the run was stopped; all ranks do, who may hold parts of it."""
    if context is None:
        return
    if not context.keeps_model:
        print("The model was not saved: its parts' ranks were stopped apart.", file=sys.stderr)
        return
    _save(context, context.prepared_model)


def _save(context: Context | None, model: Any) -> None:
    """Save a model that the function returned, or was training when stopped, unless it saved one itself."""
    if context is None or context.rank != 0 or model is None or context.model_saved:
        return
    try:
        context.save_model(model)
    except Exception as error:  # a model that cannot be saved must not cost the run its result
        print(f"The model was not saved with the run: {type(error).__name__}: {error}", file=sys.stderr)


def _packed_result(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        data = cloudpickle.dumps(value)
    except Exception as error:  # pickling runs the value's own code
        return {"problem": f"The function's result cannot be sent back: {type(error).__name__}: {error}"}
    if len(data) > RESULT_LIMIT:
        return {"problem": f"The result has {len(data)} bytes; at most {RESULT_LIMIT} can be sent back."}
    return {"result": data}


def _outcome(outcome: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "code": code, **more}


def _exited(error: SystemExit, link: Link) -> dict[str, Any]:
    code = (error.code or 0) & 0xFF if isinstance(error.code, int | None) else 1
    if not code:
        return _outcome("ok")
    if link.raised:
        return _outcome("stopped")
    return _outcome(
        "failed", code, error=_cut(f"sys.exit({error.code!r})", LONGEST_ERROR), traceback=_formatted(error)
    )


def _failed(error: BaseException) -> dict[str, Any]:
    line = traceback.format_exception_only(error)[-1].strip()
    return _outcome("failed", 1, error=_cut(line, LONGEST_ERROR), traceback=_formatted(error))


def _formatted(error: BaseException) -> str:
    """The traceback from the user's first line on."""
    shown = traceback.TracebackException.from_exception(error)
    stack = [f for f in shown.stack if f.filename not in _OWN_FILES]
    shown.stack = traceback.StackSummary.from_list(stack) if stack else shown.stack
    return _cut("".join(shown.format()), LONGEST_TRACEBACK)


def _cut(text: str, most: int) -> str:
    """The beginning and the end of a text that is too long to be told."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[… {len(text) - most} characters …]\n{text[-most // 2 :]}"


def _leave(link: Link, outcome: dict[str, Any]) -> NoReturn:
    _finish(link, outcome)
    os._exit(outcome["code"])


def _finish(link: Link, outcome: dict[str, Any]) -> None:
    """Flush what os._exit would drop, then tell the outcome as the last word."""
    for stream in [x for x in gc.get_objects() if issubclass(type(x), (io.TextIOWrapper, io.BufferedWriter))]:
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, detached, or its disk is full: nobody is left to tell
            continue
    link.close()
    link.send("outcome", outcome)
