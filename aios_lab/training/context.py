"""What a training function gets as ``ctx``. All of it is optional: plain DDP code runs too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_lab.training import numbers, strategies
from aios_lab.training.errors import Stopped
from aios_lab.training.link import Link
from aios_lab.training.spec import RankSpec

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

MODEL_FOLDER = "model"


class Context:
    """One rank's view of its run.

    ``rank``, ``world_size``, ``local_rank`` count as torchrun does; ``device`` is the rank's torch device.
    """

    def __init__(self, spec: RankSpec, link: Link) -> None:
        self.rank = spec.rank
        self.world_size = spec.world_size
        self.local_rank = spec.local_rank
        self.run_id = spec.run_id
        self._spec = spec
        self._link = link
        self._strategy = strategies.make(spec.strategy)
        self._step = 0
        self._model: torch.nn.Module | None = None
        self.model_saved = False

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

    @property
    def stopped(self) -> bool:
        """True once the run is to stop; ``report`` then raises :class:`Stopped`."""
        return self._link.stopping.is_set()

    @property
    def prepared_model(self) -> torch.nn.Module | None:
        """The user's own module that ``prepare`` got last."""
        return None if self._model is None else self._strategy.unwrap(self._model)

    def prepare(self, model: torch.nn.Module, optimizer: Any = None, dataloader: Any = None) -> Any:
        """Make model, optimizer and DataLoader work together over all ranks; returns those given, in order.

        Call it once the optimizer is made. The DataLoader's batch size stays the global batch: each rank gets
        its part of every batch, and gradients are weighted where the parts differ.

        Raises:
            CannotTrain: the DataLoader cannot be shared out (see :func:`aios_lab.training.sharding.share`).
        """
        shared, weight = (None, None) if dataloader is None else self._share(dataloader)
        self._join()
        self._model = wrapped = self._strategy.wrap(model, self.device, optimizer, weight)
        if optimizer is not None:
            strategies.lead(optimizer, self._strategy)
        given = [x for x in (wrapped, optimizer, shared) if x is not None]
        return given[0] if len(given) == 1 else tuple(given)

    def report(self, step: int | None = None, epoch: int | None = None, **metrics: Any) -> None:
        """Show metrics of this step (numbers, one-element tensors); rank 0's are shown. Cheap, never blocks.

        Raises:
            Stopped: the run is to stop. Catch it to return a partial result.
            TypeError, ValueError: ``step`` or ``epoch`` is no whole number, or a metric is no number.
        """
        call = "ctx.report"
        self._step = self._step + 1 if step is None else numbers.whole(call, "step", step)
        epoch = None if epoch is None else numbers.whole(call, "epoch", epoch)
        if self.rank == 0:
            values = {name: numbers.metric(call, name, v) for name, v in metrics.items()}
            self._link.report(self._step, time.time(), epoch, values)
        if self._link.stopping.is_set():
            self._link.raised = True
            raise Stopped(f"the run was stopped at step {self._step}")

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
        inner = self._strategy.unwrap(model)
        if self.rank != 0:
            return
        from aios_lab.models import bundle

        folder = Path(self._spec.folder) / MODEL_FOLDER
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._link.send("saving", True)
        try:
            with self._link.uninterrupted():
                bundle.save(
                    folder, inner, example=example, evaluation=evaluation, metrics=dict(metrics or {})
                )
            self.model_saved = True
            self._link.send("model", str(folder))
        finally:
            self._link.send("saving", False)

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Your own module out of what ``prepare`` gave; of an fsdp model a whole copy, for which all ranks
        must ask together."""
        return self._strategy.unwrap(model)

    def whole_result(self, value: Any) -> Any:
        """What the function returned, a model without its wrapping. Every rank comes here at its end, since
        one that holds a part of rank 0's model must give it, whatever it returns itself."""
        import torch

        is_model = isinstance(value, torch.nn.Module)
        if not (self._strategy.sharded and self._model is not None):
            return self._strategy.unwrap(value) if is_model else value
        from aios_lab.training.meeting import told_by_rank_0

        wanted = told_by_rank_0("returns a model", is_model)
        return self._strategy.unwrap(value if is_model else self._model) if wanted else value

    def _join(self) -> None:
        import torch.distributed as dist

        if dist.is_initialized():
            return
        device = self.device
        if device.type == "cuda":
            import torch

            torch.cuda.set_device(device)
        dist.init_process_group(self._strategy.backend(device))

    def _share(self, dataloader: Any) -> tuple[Any, Callable[[], float] | None]:
        from aios_lab.training import sharding

        seed = self._spec.seed or 0
        shared = sharding.share(dataloader, seed=seed, rank=self.rank, world=self.world_size)
        if isinstance(shared, sharding.SharedLoader) and self.world_size > 1:
            return shared, lambda: shared.weight
        return shared, None
