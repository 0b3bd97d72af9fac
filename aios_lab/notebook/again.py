"""The call that began a run, kept in the run's folder: with it any kernel can go on from a checkpoint."""

from __future__ import annotations

import io
import logging
import os
import pickle
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """In place of data that only the kernel of the call had."""

    kind: str


def keep(folder: Path, call: dict[str, Any]) -> None:
    """Keep the arguments of ``begin``, and of the data what names files. A call that cannot be written, or is
    larger than ``LARGEST``, is not kept, and the run goes on."""
    import cloudpickle

    from aios_lab.training import whole
    from aios_lab.training.kernel.payload import source_of

    kept = {name: value for name, value in call.items() if name not in NOT_KEPT}
    if not _names_files(data := kept.get("data")):
        kept["data"] = Elsewhere(type(data).__qualname__)
    packed = _Bounded()
    try:
        cloudpickle.dump({**kept, "source": kept.get("source") or source_of(kept["function"])}, packed)
        whole.write(folder / CALL, packed.getvalue(), mode=0o600)
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
    if isinstance(data := call.get("data"), Elsewhere):
        raise AIOSError(
            f"The run {view.name!r} ({view.id}) trained on data of its notebook's (a {data.kind}), which is "
            "not kept.",
            "no_data",
            f"Give it again: aios.train(function, data=…, resume={named!r}).",
        )
    return {**call, "name": view.name, "resume": named}


def _no_checkpoint(view: Run, steps: list[int], step: int | None) -> AIOSError:
    where = "." if step is None else f" at step {step}."
    hint = (
        f"It has checkpoints at the steps {', '.join(map(str, steps))}."
        if steps
        else "Use ctx.prepare with a DataLoader, or ctx.checkpoint, so that a run keeps some."
    )
    return AIOSError(f"The run {view.name!r} ({view.id}) has no checkpoint{where}", "no_checkpoint", hint)


def _names_files(data: Any) -> bool:
    """Whether ``data`` is nothing, or paths and URLs alone: what is small, and there for any kernel."""
    from aios_lab.training import Files

    many = data if isinstance(data, list) else [data]
    return data is None or all(isinstance(one, (str, os.PathLike, Files)) for one in many)


class _Bounded(io.BytesIO):
    """Takes no more than ``LARGEST`` bytes, so that nobody packs gigabytes to throw them away."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        return super().write(data)
