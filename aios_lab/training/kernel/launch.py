"""``train``: from what a user asks to a run that is led in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_lab import wire
from aios_lab.training import numbers
from aios_lab.training.environment import changed_here
from aios_lab.training.errors import CannotTrain
from aios_lab.training.keeping import Keeping
from aios_lab.training.kernel import payload
from aios_lab.training.kernel.hearing import Hearing
from aios_lab.training.kernel.live import LiveRun
from aios_lab.training.kernel.loading import load
from aios_lab.training.kernel.reporter import Reporter
from aios_lab.training.kernel.run import Run
from aios_lab.training.kernel.tracker import LocalTracker, Tracker, TrackerUnavailable
from aios_lab.training.leader import plugin as leader
from aios_lab.training.leader.placement import place, where
from aios_lab.training.saving import checkpoints
from aios_lab.training.spec import RESULT, Lead, RankSpec, Work
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.training.worker import supervisor
from aios_lab.wire import RunRequest

if TYPE_CHECKING:
    from distributed import Client

    from aios_lab.training.data import Given

log = logging.getLogger("aios_lab.training")


def train(
    fn: Callable[..., Any] | None = None,
    script: str | os.PathLike[str] | None = None,
    args: Sequence[Any] = (),
    *,
    client: Client,
    workers: int | None = None,
    strategy: str = "ddp",
    precision: str = "fp32",
    accumulate: int = 1,
    checkpoint_activations: bool = False,
    compile: bool = False,
    gradients: str = "fp32",
    cpu_offload: bool = False,
    tracker: Tracker | None = None,
    name: str | None = None,
    source: str = "",
    seed: int | None = None,
    data: Any = None,
    detach: bool = False,
    total_steps: int | None = None,
    total_epochs: int | None = None,
    checkpoint_every: int | None = None,
    checkpoint_keep: int = checkpoints.KEEP,
    min_workers: int | None = None,
    batch_growth: str = "",
    resume: str = "",
    **options: Any,
) -> Run:
    """Train on the workers of a Dask cluster, one rank a worker; returns at once.

    Args:
        fn: called on every rank as ``fn(ctx, *args, **options)``, or without ``ctx`` where it takes none. An
            ``nn.Module`` that it returns is saved with the run; what rank 0 returns is ``run.result()``.
        script: instead of ``fn``, a path or the text of a script to run as ``torchrun`` would.
        args: arguments of ``fn``, or ``sys.argv[1:]`` of the script.
        client: a connected, synchronous client.
        workers: how many ranks; all running workers by default.
        strategy: how ranks work together, ``"ddp"`` or ``"fsdp"``; with it ``precision``, ``accumulate``,
            ``checkpoint_activations``, ``compile``, ``gradients`` and ``cpu_offload``, which
            :class:`aios_lab.training.strategies.base.StrategyOptions` explains; ``ctx.prepare`` does it.
        tracker: keeps the run; files in a folder by default.
        source: the text that is trained, for the record; the function's source by default.
        detach: let it go on when this process ends.
        seed: seeds torch on every rank, and the shuffle of prepared DataLoaders.
        data: what to train on, for ``ctx.data``: files, arrays, a Dask collection or a dataset; see
            :func:`aios_lab.training.data.find.look`. It is made ready before this returns.
        checkpoint_every: with ``checkpoint_keep``, ``min_workers``, ``batch_growth`` and ``resume``, how the
            run is kept and goes on: see :class:`aios_lab.training.keeping.Keeping`.

    Raises:
        CannotTrain: it cannot start as asked; nothing was started.
    """
    how = StrategyOptions(
        strategy, precision, accumulate, checkpoint_activations, compile, gradients, cpu_offload
    )
    how.check()
    work = _work(fn, script, args, options)
    _needs_context(how, work)
    packed = payload.pack(work)
    given = _look(data, fn)
    places = place(client, workers)
    most = None if workers is None else len(places)
    tracker = tracker or LocalTracker()
    keeping = Keeping(checkpoint_every, checkpoint_keep, min_workers, batch_growth, str(resume))
    keeping.check(len(places))
    _measurable(how, keeping)
    keeping = keeping.found(Path(tracker.runs_dir))
    request = RunRequest(
        name=name or _name(work),
        strategy=strategy,
        world_size=len(places),
        total_steps=_total("total_steps", total_steps),
        total_epochs=_total("total_epochs", total_epochs),
        source=source or (work.script.text if work.script else payload.source_of(work.function)),
        parameters={key: _plain(value) for key, value in options.items()},
        options=how.changed,
        detached=detach,
        resumed=keeping.resumed,
    )
    sources = payload.cell_sources(work)
    path = payload.import_path()
    environment = changed_here()

    def lead(begun: wire.Run) -> Run:
        folder = Path(tracker.runs_dir).resolve() / begun.id
        live = LiveRun(begun)
        run = Run(live, folder, lambda: _result(client, folder, live.view().ranks[0].worker))
        specs = [
            RankSpec(
                run_id=begun.id,
                rank=rank,
                world_size=len(places),
                first_world=len(places),
                strategy=how,
                folder=str(folder),
                cwd=os.getcwd(),
                path=path,
                sources=sources,
                seed=seed,
                environment=environment,
                keeping=keeping,
                **where(spot),
            )
            for rank, spot in enumerate(places)
        ]
        source = None if given is None else load(given, run, client, tracker)
        sent = packed if source is None else payload.pack(replace(work, data=source))
        workers = tuple(spot.address for spot in places)
        order = Lead(begun.id, client.id, detach, workers, tuple(specs), sent, most)
        reporter = Reporter(tracker, begun.id, run.obey)
        _start(Hearing(run, client, order, reporter), run)
        return run

    on_scheduler: Any = client.run_on_scheduler
    begun = _begin(tracker, request, lambda: on_scheduler(leader.prepare))
    try:
        return lead(begun)
    except BaseException as error:
        _take_back(tracker, begun.id, error)
        raise


def _measurable(how: StrategyOptions, keeping: Keeping) -> None:
    """AdaScale compares the squares of ranks' own gradients with that of their mean.

    Raises:
        CannotTrain: no rank has its own whole gradients, in their own scale.
    """
    if keeping.batch_growth == "adascale" and (how.strategy != "ddp" or how.precision == "fp16"):
        raise CannotTrain(
            "batch_growth='adascale' measures whole gradients: it needs strategy='ddp' and precision 'fp32' "
            "or 'bf16'. Take 'linear' or 'sqrt' instead."
        )


def _begin(tracker: Tracker, request: RunRequest, meanwhile: Callable[[], object]) -> wire.Run:
    """Begin on a thread of its own: an interrupt while the server answers must not lose the run's id, or the
    run would hold its slice with nobody to lead it. ``meanwhile`` is called while it answers."""
    answer: Future[wire.Run] = Future()

    def ask() -> None:
        try:
            answer.set_result(tracker.begin(request))
        except BaseException as error:  # whatever it is, it belongs to the caller of train()
            answer.set_exception(error)

    def take_back(answer: Future[wire.Run]) -> None:
        if answer.exception() is None:
            _take_back(tracker, answer.result().id, KeyboardInterrupt())

    asking = threading.Thread(target=ask, name="aios-begin", daemon=True)
    try:
        asking.start()
        meanwhile()
        return answer.result()
    except BaseException:
        answer.add_done_callback(take_back)
        raise


def _take_back(tracker: Tracker, run_id: str, error: BaseException) -> None:
    """Tell the end of a run that nobody leads."""
    interrupted = isinstance(error, KeyboardInterrupt)
    update = wire.RunUpdate(
        state=wire.RunState.STOPPED if interrupted else wire.RunState.FAILED,
        error="It was interrupted while it began." if interrupted else f"{type(error).__name__}: {error}",
    )
    try:
        tracker.update(run_id, update)
    except (TrackerUnavailable, OSError) as trouble:  # the server ends runs that nobody reports
        log.info("the end of run %s was not told: %s", run_id, trouble)


def _start(hearing: Hearing, run: Run) -> None:
    """Start the thread; one that an interrupt finds started already ends its run by itself."""
    try:
        hearing.start()
    except BaseException:
        run.kill()
        raise


def _result(client: Client, folder: Path, worker: str) -> bytes:
    """What rank 0 returned: a file, here or on the host of its worker."""
    if (folder / RESULT).exists():
        return supervisor.read_result(str(folder))
    found: dict[str, bytes] = client.run(supervisor.read_result, str(folder), workers=[worker])
    return found[worker]


def _work(
    fn: Callable[..., Any] | None,
    script: str | os.PathLike[str] | None,
    args: Sequence[Any],
    options: dict[str, Any],
) -> Work:
    if (fn is None) == (script is None):
        raise CannotTrain("train() needs a function or script=…, one of the two.")
    if fn is not None:
        return payload.function_work(fn, args, options)
    assert script is not None
    if options:
        unknown = ", ".join(sorted(options))
        raise CannotTrain(
            f"A script takes no options such as {unknown}: pass them as args=['--{next(iter(options))}', …]."
        )
    return payload.script_work(script, args)


def _needs_context(how: StrategyOptions, work: Work) -> None:
    """Raises CannotTrain where options were given that nothing would follow."""
    if work.wants_context or not (asked := [*how.changed, *(["strategy"] if how.strategy != "ddp" else [])]):
        return
    what = "A script" if work.script is not None else f"{_name(work)}()"
    raise CannotTrain(
        f"{asked[0]}={getattr(how, asked[0])!r} is what ctx.prepare does, and {what} has no ctx: "
        "give the function a first parameter ctx and use ctx.prepare, or do it in your own code."
    )


def _look(data: Any, fn: Any) -> Given | None:
    """What the data is; it is looked at before a run begins, and prepared once it has a folder."""
    if data is None:
        return None
    if fn is None:
        raise CannotTrain("data= is for functions, which find it as ctx.data: a script opens its own data.")
    from aios_lab.training.data.find import look

    return look(data)


def _total(name: str, value: Any) -> int | None:
    try:
        return None if value is None else numbers.whole("train", name, value, least=0)
    except (TypeError, ValueError) as error:
        raise CannotTrain(str(error)) from None


def _name(work: Work) -> str:
    if work.script is not None:
        return Path(work.script.path).name if work.script.path else "script"
    return str(getattr(work.function, "__name__", "train"))


def _plain(value: Any) -> Any:
    """A parameter as JSON can keep it."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)[:200]
