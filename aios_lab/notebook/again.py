"""The call that began a run, kept in the run's folder: with it any kernel can go on from a checkpoint."""

from __future__ import annotations

import inspect
import logging
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_lab.notebook.errors import AIOSError

if TYPE_CHECKING:
    from aios_lab.notebook.server import Server
    from aios_lab.wire import Run

log = logging.getLogger("aios_lab.notebook")

CALL = "call.pkl"
LARGEST = 64 * 2**20  # bytes of a call that is kept
NOT_KEPT = frozenset({"client", "tracker", "resume"})  # of this kernel, or of this call alone


def keep(folder: Path, call: dict[str, Any]) -> None:
    """Keep the arguments of ``begin``. What cannot be written is not kept, and the run goes on."""
    import cloudpickle

    kept = {name: value for name, value in call.items() if name not in NOT_KEPT}
    try:
        packed = cloudpickle.dumps({**kept, "source": kept.get("source") or _source(kept["function"])})
        if len(packed) > LARGEST:
            raise ValueError(f"it has {len(packed)} bytes")
        _write(folder / CALL, packed)
    except Exception as error:  # objects of users raise whatever they like when they are packed
        log.info("the call that began the run in %s is not kept: %s", folder, error)


def recall(server: Server, run: str, step: int | None) -> dict[str, Any]:
    """The arguments of ``begin`` that begin the run anew from its checkpoint at ``step``, or its newest one.

    Raises:
        AIOSError: there is no such run of this user's, it has no such checkpoint, or its call was not kept.
    """
    from aios_lab.wire import Run

    view = server.call("GET", f"runs/{run}", Run)
    steps = [one.step for one in view.checkpoints]
    if not steps or step not in (None, *steps):
        raise _no_checkpoint(view, steps, step)
    named = f"{view.id}@{steps[-1] if step is None else step}"
    try:
        packed = (Path(os.environ["AIOS_RUNS"]) / view.id / CALL).read_bytes()
        call: dict[str, Any] = pickle.loads(packed)
    except Exception as error:  # what was packed elsewhere may need a module that is not here
        raise AIOSError(
            f"The function of run {view.name!r} ({view.id}) cannot be had back: "
            f"{type(error).__name__}: {error}",
            "no_call",
            f"Run the cell that defines it again, with --resume {named}.",
        ) from error
    return {**call, "name": view.name, "resume": named}


def _no_checkpoint(view: Run, steps: list[int], step: int | None) -> AIOSError:
    where = "." if step is None else f" at step {step}."
    hint = (
        f"It has checkpoints at the steps {', '.join(map(str, steps))}."
        if steps
        else "Use ctx.prepare with a DataLoader, or ctx.checkpoint, so that a run keeps some."
    )
    return AIOSError(f"The run {view.name!r} ({view.id}) has no checkpoint{where}", "no_checkpoint", hint)


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function) if function is not None else ""
    except (OSError, TypeError):  # defined where no source is kept
        return ""


def _write(path: Path, packed: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
