"""What a user asks of a run's checkpoints and its size, checked in the kernel before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from aios_lab.training.errors import CannotTrain
from aios_lab.training.saving import checkpoints
from aios_lab.wire import Resumed

GROWTH = ("linear", "sqrt", "adascale")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a run is kept, and may go on.

    Attributes:
        checkpoint_every: save each so many optimizer steps; by the clock, each half minute, where None.
        checkpoint_keep: how many checkpoints are kept.
        min_workers: with fewer the run waits; all that it began with where the function is not resumable.
        batch_growth: have the global batch follow the number of ranks, and the learning rate by this rule:
            ``linear``, ``sqrt`` or ``adascale``. Empty keeps the global batch.
        resume: begin with the newest good checkpoint of this run, with the one at a step of it, as in
            ``r-0123456789@40``, or with the checkpoint in this folder.
        passed_over: what is to be said of newer checkpoints that were damaged.
    """

    checkpoint_every: int | None = None
    checkpoint_keep: int = checkpoints.KEEP
    min_workers: int | None = None
    batch_growth: str = ""
    resume: str = ""
    passed_over: tuple[str, ...] = ()

    def check(self, workers: int) -> None:
        """Raises CannotTrain, with what is possible."""
        for name, least in (("checkpoint_every", 1), ("checkpoint_keep", 1), ("min_workers", 1)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise CannotTrain(f"{name}={value!r} is not possible: give {least} or more.")
        if self.min_workers is not None and self.min_workers > workers:
            raise CannotTrain(
                f"min_workers={self.min_workers} is more than the {workers} that it begins with."
            )
        if self.batch_growth not in ("", *GROWTH):
            raise CannotTrain(
                f"There is no batch_growth {self.batch_growth!r}. Use one of: {', '.join(GROWTH)}; leave it "
                "out to keep the global batch."
            )

    def found(self, runs: Path) -> Keeping:
        """The same, with the folder of the checkpoint to begin with as ``resume``.

        Args:
            runs: the folder of runs, in which ``resume`` may name one.

        Raises:
            CannotTrain: there is none, or none that is whole.
        """
        if not self.resume:
            return self
        run, _, step = self.resume.partition("@")
        named = Path(self.resume).expanduser()
        folder = checkpoints.folder_of(runs / run) if len(named.parts) == 1 else named
        one = (folder / checkpoints.MANIFEST).exists()
        damaged = []
        for checkpoint in [folder] if one else checkpoints.listed(folder):
            at = checkpoints.step_of(checkpoint)
            if step and str(at) != step:
                continue
            try:
                checkpoints.verify(checkpoint)
            except checkpoints.Damaged as damage:
                damaged.append(f"The checkpoint at step {at} is damaged: {damage}.")
            else:
                return replace(self, resume=str(checkpoint.resolve()), passed_over=tuple(damaged))
        none = f"{folder} has none at step {step}." if step else f"{folder} has no checkpoint."
        why = " ".join(damaged) or none
        raise CannotTrain(
            f"resume={self.resume!r}: {why} Give a run's id, RUN@STEP, or a checkpoint's folder."
        )

    @property
    def resumed(self) -> Resumed | None:
        """For the record: which checkpoint of which run, once ``resume`` is its folder."""
        if not self.resume:
            return None
        manifest = checkpoints.read_manifest(Path(self.resume))
        return Resumed(run_id=manifest.run, step=manifest.reported)
