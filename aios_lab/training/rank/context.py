"""What a training function gets as ``ctx``. All of it is optional: plain DDP code runs too."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from aios_lab.training import numbers
from aios_lab.training.errors import CannotTrain, Stopped
from aios_lab.training.pacing import orders, rates, sharding, stepping
from aios_lab.training.pacing.loader import SharedLoader
from aios_lab.training.pacing.pace import Pace, Pieces
from aios_lab.training.rank.continuity import Continuity, Part, say
from aios_lab.training.rank.link import Link
from aios_lab.training.spec import RankSpec
from aios_lab.training.strategies import base as strategies

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

    from aios_lab.training.data import Source
    from aios_lab.training.strategies.meeting import Parting

MODEL_FOLDER = "model"


class Context:
    """One rank's view of its run.

    ``rank``, ``world_size``, ``local_rank`` count as torchrun does; ``device`` is the rank's torch device.
    """

    def __init__(
        self, spec: RankSpec, link: Link, leave: Callable[[], NoReturn], source: Source | None = None
    ) -> None:
        """``leave`` ends this process as paused."""
        self.rank = spec.rank
        self.world_size = spec.world_size
        self.local_rank = spec.local_rank
        self.run_id = spec.run_id
        self._spec = spec
        self._first_world = spec.first_world  # ranks that its batch size is for
        self._link = link
        self._source = source
        self._strategy = strategies.make(spec.strategy)
        self._pace = Pace()
        self._pieces = Pieces()
        self._continuity = Continuity(spec, link, self._pace, self._strategy, self._join, leave)
        self._model: torch.nn.Module | None = None
        self.model_saved = False
        self._reports = 0
        self._parting: Parting | None = None

    @property
    def device(self) -> torch.device:
        """The accelerator that this rank's worker was given, else the CPU."""
        import torch

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        index = int(os.environ.get("LOCAL_RANK", "0"))
        if visible == "" or not torch.cuda.is_available() or index >= torch.cuda.device_count():
            return torch.device("cpu")
        return torch.device("cuda", index)

    @property
    def process_group(self) -> ProcessGroup:
        """The group of all ranks; made at first use, or the one that your own init_process_group() made."""
        import torch.distributed as dist

        self._join()
        group = dist.group.WORLD
        assert group is not None
        return group

    @functools.cached_property
    def data(self) -> Any:
        """The run's ``data=`` as a map-style dataset, of which this rank reads what it takes.

        Raises:
            CannotTrain: the run was given no data.
        """
        if self._source is None:
            raise CannotTrain("ctx.data: this run has no data. Give it some: aios.train(function, data=…).")
        return self._source.open(self.rank, self.world_size)

    @property
    def _step(self) -> int:
        return self._continuity.reported

    @_step.setter
    def _step(self, step: int) -> None:
        self._continuity.reported = step

    @property
    def step(self) -> int:
        """Steps that the optimizer which was prepared first has taken, in all worlds of the run and of the
        one that it resumes. A global batch in pieces is one."""
        self._continuity.saved()
        return self._pace.step

    @property
    def catching_up(self) -> bool:
        """True while a resumed function is not yet where its checkpoint was taken."""
        return self._pace.catching_up

    @property
    def stopped(self) -> bool:
        """True once the run is to stop; ``report`` then raises :class:`Stopped`."""
        return self._link.stopping.is_set()

    @property
    def prepared_model(self) -> torch.nn.Module | None:
        """The user's own module that ``prepare`` got last."""
        return None if self._model is None else self._whole(self._model)

    def prepare(
        self,
        model: torch.nn.Module,
        optimizer: Any = None,
        dataloader: Any = None,
        *,
        scheduler: Any = None,
        scaler: Any = None,
    ) -> Any:
        """Make model, optimizer and DataLoader work together over all ranks; returns those given, in order.

        Call it once the optimizer is made. The DataLoader's batch size stays the global batch: each rank gets
        its part of every batch, and gradients are weighted where the parts differ. With an optimizer and a
        DataLoader the run can go on in the middle of an epoch: after a resize or a crash, everything that is
        given here has the state of the last checkpoint.

        Args:
            scheduler: of the learning rate; kept in checkpoints.
            scaler: a GradScaler; kept in checkpoints.

        Raises:
            CannotTrain: the DataLoader cannot be shared out (see :func:`.sharding.batches_of`), or
                what is given does not fit the checkpoint that the run goes on from.
        """
        shared = dataloader if dataloader is None else self._share(dataloader)
        self._join()
        mine = shared if isinstance(shared, SharedLoader) else None
        pace = self._pace if mine is not None else None
        own = self._measure(model)
        self._model = wrapped = self._strategy.wrap(model, self.device, optimizer, pace)
        self._pace.synchronize.append(functools.partial(self._strategy.synchronize, wrapped))
        part = Part(wrapped, optimizer, mine, scheduler, scaler)
        if optimizer is not None:
            part.rate = self._follow(optimizer, own)
        for thing, methods in ((scheduler, ("step",)), (scaler, ("unscale_", "step", "update"))):
            if thing is not None:
                stepping.hold(thing, methods, self._pace)
        self._continuity.add(part)
        given = [x for x in (wrapped, optimizer, shared, scheduler, scaler) if x is not None]
        return given[0] if len(given) == 1 else tuple(given)

    def report(self, step: int | None = None, epoch: int | None = None, **metrics: Any) -> None:
        """Show metrics of this step (numbers, one-element tensors); rank 0's are shown. Cheap, never blocks.

        Raises:
            Stopped: the run is to stop. Catch it to return a partial result. A function that can go on from a
                checkpoint gets it between two steps instead, once that is written.
            TypeError, ValueError: ``step`` or ``epoch`` is no whole number, or a metric is no number.
        """
        call = "ctx.report"
        given = None if step is None else numbers.whole(call, "step", step)
        epoch = None if epoch is None else numbers.whole(call, "epoch", epoch)
        values = (
            {name: numbers.metric(call, name, v) for name, v in metrics.items()} if self.rank == 0 else {}
        )
        if not self._pace.catching_up:
            self._pieces.add(values, self._pace.samples)
            if self._pace.last:
                self._step = self._step + 1 if given is None else given
                self._report(epoch, self._pieces.take())
        self._reports += 1
        if self._link.stopping.is_set() and not self._link.parting and self._all_stop():
            self._link.halt(f"the run was stopped at step {self._step}")

    def _all_stop(self) -> bool:
        if not self._strategy.sharded or self._model is None:
            return True
        from aios_lab.training.strategies import meeting

        self._parting = self._parting or meeting.Parting()
        return self._parting.due(self._reports)

    def checkpoint(self, state: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Save this state with the run, and all that ``prepare`` got; returns while it is written.

        All ranks call it at the same place: tensors, plain values, or objects with a ``state_dict``, of which
        rank 0's are kept. The run can be moved to other workers or go on after a crash from here, and once it
        was called from nowhere else.
        """
        self._continuity.checkpoint({**(state or {}), **more})

    def resume(self) -> dict[str, Any] | None:
        """What the last ``checkpoint`` saved, when the run goes on from one; else None.

        Objects come back as their ``state_dict``. What ``prepare`` got is restored by itself.
        """
        return self._continuity.resume()

    def epochs(self, number: int) -> Iterator[int]:
        """``range(number)``, from the epoch on in which the run goes on."""
        first = self._continuity.epochs_done
        self._continuity.skip_loaders()
        return iter(range(first, numbers.whole("ctx.epochs", "number", number, least=0)))

    def progress(self, total_steps: int | None = None, total_epochs: int | None = None) -> None:
        """Say how long the run will be, for the progress bar and the time left.

        Raises:
            TypeError, ValueError: one of them is no whole number, or negative.
        """
        given = {"total_steps": total_steps, "total_epochs": total_epochs}
        body = {
            name: None if value is None else numbers.whole("ctx.progress", name, value, least=0)
            for name, value in given.items()
        }
        if self.rank == 0:
            self._link.send("progress", body)

    def save_model(
        self,
        model: torch.nn.Module,
        example: Any = None,
        evaluation: tuple[Any, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Save the model with the run, ready to register; rank 0 writes it, all ranks call it.

        Args:
            example: an input batch, for checks when the model is loaded or compressed.
            evaluation: held-out inputs and labels, so that compressed children can be measured.
        """
        inner = self._whole(model)
        if self.rank != 0:
            return
        from aios_lab.models import bundle

        folder = Path(self._spec.folder) / MODEL_FOLDER
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._link.unhurried():
            bundle.save(folder, inner, example=example, evaluation=evaluation, metrics=dict(metrics or {}))
            self.model_saved = True
            self._link.send("model", str(folder))

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Your own module out of what ``prepare`` gave; of an fsdp model a whole copy, for which all ranks
        must ask together."""
        return self._whole(model)

    def _whole(self, model: torch.nn.Module) -> torch.nn.Module:
        if not self._strategy.sharded:
            return self._strategy.unwrap(model)
        if not self.keeps_model:
            raise Stopped("the ranks were stopped apart: they cannot put their parts of the model together")
        with self._link.unhurried():
            return self._strategy.unwrap(model)

    @property
    def keeps_model(self) -> bool:
        """Whether what was trained can still be had whole: not of ranks that hold parts and were interrupted
        each where it was."""
        return not self._strategy.sharded or self._link.together or not self._link.raised

    def whole_result(self, value: Any) -> Any:
        """What the function returned, a model without its wrapping. Every rank comes here at its end, since
        one that holds a part of rank 0's model must give it, whatever it returns itself."""
        import torch

        is_model = isinstance(value, torch.nn.Module)
        if not (self._strategy.sharded and self._model is not None):
            return self._strategy.unwrap(value) if is_model else value
        from aios_lab.training.strategies.meeting import told_by_rank_0

        if not self.keeps_model:
            return None if is_model else value
        wanted = told_by_rank_0("returns a model", is_model)
        return self._whole(value if is_model else self._model) if wanted else value

    def _join(self) -> None:
        import torch.distributed as dist

        if dist.is_initialized():
            return
        device = self.device
        if device.type == "cuda":
            import torch

            torch.cuda.set_device(device)
        dist.init_process_group(self._strategy.backend(device))

    def finish(self) -> None:
        """The function has returned: a checkpoint that is being written is waited for."""
        self._continuity.finish()

    def _report(self, epoch: int | None, values: dict[str, Any]) -> None:
        self._continuity.going()
        if self.rank == 0:
            self._link.report(self._step, time.time(), epoch, values)

    def _share(self, dataloader: Any) -> Any:
        spec, position = self._spec, self._continuity.position()
        order = position.get("order", {})
        self._first_world = order.get("first_world", spec.first_world)
        batches = sharding.batches_of(
            dataloader,
            seed=order.get("seed", 0) if spec.seed is None else spec.seed,
            rank=self.rank,
            world=self.world_size,
            first_world=self._first_world,
            pieces=spec.strategy.accumulate,
            grows=bool(spec.keeping.batch_growth),
        )
        if batches is None:
            return dataloader
        if position:
            orders.check(position, batches, say if self.rank == 0 else lambda _: None)
        return SharedLoader(
            dataloader, batches, self._pace, self._continuity.boundary, self._continuity.arrived
        )

    def _follow(self, optimizer: Any, own: rates.OwnGradients | None) -> rates.Rate | None:
        """Have the optimizer step at the loader's pace, as the strategy and the rule for its rate will."""
        spec = self._spec
        if not spec.keeping.batch_growth:
            stepping.follow(optimizer, self._pace, functools.partial(self._strategy.step, optimizer))
            return None
        scale = self.world_size / (self._first_world or self.world_size)
        rate = rates.Rate(spec.keeping.batch_growth, optimizer, scale)

        def around(step: Callable[[], Any]) -> Any:
            if own is not None:
                mean, parts = own.take()
                rate.measure(mean, rates.square_of(optimizer), parts)
            return rate.step(functools.partial(self._strategy.step, optimizer, step))

        stepping.follow(optimizer, self._pace, around)
        return rate

    def _measure(self, model: torch.nn.Module) -> rates.OwnGradients | None:
        spec = self._spec
        alone = self.world_size * spec.strategy.accumulate == 1  # nothing differs from anything
        if spec.keeping.batch_growth != "adascale" or alone:
            return None
        return rates.OwnGradients(model.parameters(), self._pace)
