"""What lets a rank's training go on in another world, or after a crash: what is kept, and when."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed
from torch.distributed.checkpoint.api import CheckpointException

from aios_lab.training.errors import CannotTrain
from aios_lab.training.pacing.loader import SharedLoader
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.pacing.rates import Rate
from aios_lab.training.rank.boundaries import Boundaries, Store, Why
from aios_lab.training.rank.link import Link
from aios_lab.training.saving import checkpoints, state
from aios_lab.training.saving.checkpoints import Manifest
from aios_lab.training.saving.saver import Saver
from aios_lab.training.spec import RankSpec
from aios_lab.training.strategies.base import Strategy
from aios_lab.training.strategies.meeting import await_key, told_by_rank_0

_GOES_ON = (
    "This run goes on after {} optimizer steps, and its function began anew: loops over the prepared "
    "DataLoader go on where they were. A function that counts its steps reads ctx.step instead."
)


@dataclass
class Part:
    """What one ``ctx.prepare`` got."""

    model: torch.nn.Module
    optimizer: Any = None
    loader: SharedLoader | None = None
    scheduler: Any = None
    scaler: Any = None
    rate: Rate | None = None

    @property
    def others(self) -> dict[str, Any]:
        """What is kept by its own ``state_dict``."""
        return {k: v for k, v in (("scheduler", self.scheduler), ("scaler", self.scaler)) if v is not None}


class Continuity:
    """One rank's checkpoints, boundaries, and position in its function, which begins anew in each world."""

    def __init__(
        self,
        spec: RankSpec,
        link: Link,
        pace: Pace,
        strategy: Strategy,
        join: Callable[[], None],
        leave: Callable[[], NoReturn],
    ) -> None:
        """``join`` makes the group of all ranks; ``leave`` ends this process as paused."""
        self._spec, self._link, self._pace, self._strategy = spec, link, pace, strategy
        self._join, self._leave = join, leave
        self._parts: list[Part] = []
        self._boundaries = link.boundaries = Boundaries(
            spec.rank, spec.world_size, spec.keeping.checkpoint_every
        )
        link.meeting = self._meet if spec.world_size > 1 else lambda: None
        self._saver: Saver | None = None
        self._store: Any = None
        self._by_hand = False  # the function says itself what is kept and when
        self._told: int | None = None
        self._batches: set[int | None] = set()  # that were told
        self._sought = False
        self._saved_tree: Any = None
        self._random: dict[str, Any] | None = None
        self._waited = 0  # checkpoints that the training waited for
        self.found: tuple[Path, Manifest] | None = None  # the checkpoint that this world goes on from
        self.steps = 0  # boundaries between optimizer steps passed, in all worlds
        self.reported = 0

    # --- going on ---------------------------------------------------------------------------------

    def add(self, part: Part) -> None:
        """Keep a prepared part from now on; it goes on where the checkpoint has it."""
        index = len(self._parts)
        self._parts.append(part)
        if part.optimizer is not None and part.loader is not None:
            self._resumable(part.loader.batches.batch)
        saved = self.saved()
        if saved is None or self.found is None or saved.get("parts", index) is None:
            return
        try:
            self._restore(part, saved, index)
        except (RuntimeError, ValueError, KeyError, TypeError, CheckpointException) as error:
            raise CannotTrain(
                f"The checkpoint at step {self.found[1].reported} does not fit what ctx.prepare got: {error}"
            ) from error
        position = self.found[1].loaders[index]
        if part.loader is not None and position:
            if self._by_hand:
                part.loader.skip_to(position)
            else:
                part.loader.go_on(position)
                if self._spec.rank == 0 and not self._pace.catching_up:
                    say(_GOES_ON.format(self._pace.step))
                self._pace.catching_up = True

    def position(self) -> dict[str, Any]:
        """Where the DataLoader of the part to come was at the checkpoint; empty without one."""
        self.saved()
        loaders = [] if self.found is None else self.found[1].loaders
        return loaders[len(self._parts)] if len(self._parts) < len(loaders) else {}

    def _restore(self, part: Part, saved: Any, index: int) -> None:
        with self._pace.kept():
            template = self._strategy.state(part.model, part.optimizer)
            trained = saved.into(template, "parts", index, "trained")
            self._strategy.load(part.model, part.optimizer, trained)
        for name, thing in part.others.items():
            if (kept := saved.get("parts", index, name)) is not None:
                thing.load_state_dict(kept)
        if part.rate is not None and (kept := saved.get("parts", index, "rate")) is not None:
            part.rate.restore(kept)

    def resume(self) -> dict[str, Any] | None:
        """What the last ``checkpoint`` call of the function kept; from now on it finds its way by itself."""
        self._by_hand = True
        self._resumable()
        saved = self.saved()
        user: dict[str, Any] | None = None if saved is None else saved.get("user")
        self._pace.catching_up = False
        if self.found is not None:
            self.skip_loaders()
            self.arrived()
        return user

    def skip_loaders(self) -> None:
        """The function does not repeat the iterations that are done."""
        if self.found is not None:
            for part, position in zip(self._parts, self.found[1].loaders, strict=False):
                if part.loader is not None and position:
                    part.loader.skip_to(position)

    @property
    def epochs_done(self) -> int:
        """Whole epochs of the first prepared loader before the position that it goes on from."""
        self.saved()
        return next((part.loader.epochs_done for part in self._parts if part.loader is not None), 0)

    def arrived(self) -> None:
        """The function is where the checkpoint was taken."""
        self._pace.catching_up = False
        if self.found is not None:
            seed = (self._spec.seed or 0) + 1_000_003 * self.steps + self._spec.rank
            state.restore_random(self._random, seed)

    def saved(self) -> Any:
        """What the checkpoint has that this world goes on from; None where there is none."""
        if not self._sought:
            self._sought = True
            self.found = self._find()
            if self.found is not None:
                self._load(*self.found)
        return self._saved_tree

    def _load(self, place: Path, manifest: Manifest) -> None:
        self._saved_tree, self._random = state.unpacked(place, self._spec.rank)
        self.steps, self.reported, self._pace.step = manifest.steps, manifest.reported, manifest.stepped
        if self._spec.rank == 0:
            self._link.send("resumed", {"step": manifest.reported})

    def _find(self) -> tuple[Path, Manifest] | None:
        """The newest good checkpoint: rank 0 looks, so that all take the same one."""
        spec = self._spec
        if spec.attempt == 0 and not spec.keeping.resume:
            return None
        if spec.rank == 0:
            found = self._newest()
            if spec.world_size > 1:
                self.store().set("resume", "" if found is None else str(found[0]))
            return found
        place = await_key(self.store(), "resume").decode()  # rank 0 reads all of it first
        return (Path(place), checkpoints.read_manifest(Path(place))) if place else None

    def _newest(self) -> tuple[Path, Manifest] | None:
        own = checkpoints.folder_of(self._spec.folder)
        found = checkpoints.newest_good(own, say)
        if found is None and self._spec.keeping.resume:
            place = Path(self._spec.keeping.resume)
            for text in self._spec.keeping.passed_over:
                say(text)
            try:
                return place, checkpoints.verify(place)
            except checkpoints.Damaged as damage:
                raise CannotTrain(f"The checkpoint {place} is damaged: {damage}.") from None
        return found

    # --- between two steps ------------------------------------------------------------------------

    def boundary(self) -> None:
        """Between two optimizer steps, before a global batch of the prepared loader."""
        self.steps += 1
        self.going()
        if not self._by_hand:
            self._do(self._boundaries.due(self.steps, self._shared_store()), None)

    def checkpoint(self, user: Mapping[str, Any]) -> None:
        """The function's own boundary, which always saves."""
        if not self._pace.counts:
            return
        self._by_hand = True
        self._resumable()
        self.saved()
        self.going()
        if not any(part.loader is not None for part in self._parts):
            self.steps += 1
        self._do(self._boundaries.due(self.steps, self._shared_store()) or "save", user)

    def going(self) -> None:
        """The training goes on: a step was done in this world."""
        if self._told != self._spec.attempt and not self._pace.catching_up:
            self._told = self._spec.attempt
            if self._spec.rank == 0:
                self._link.send("going", time.time())

    def finish(self) -> None:
        """The function has ended: what is being written still counts."""
        if self._saver is not None:
            self._saver.join()

    def _do(self, why: Why | None, user: Mapping[str, Any] | None) -> None:
        if why is None:
            return
        if why == "pause" and self._spec.rank == 0:
            self._link.send("pausing", time.time())
        stands = True
        if user is not None or self._pace.stepped:  # else nothing has changed since this world began
            with self._link.uninterrupted():
                stands = self._save(user, wait=why != "save")
        elif why == "save" and self._spec.rank == 0:
            self._link.send("unsaved")  # nobody need wait for it
        if why == "stop" or (why == "pause" and self._link.parting):
            self._link.halt(f"the run was stopped at step {self.reported}")
        if why == "pause" and stands:
            self._leave()

    def _save(self, user: Mapping[str, Any] | None, wait: bool) -> bool:
        """Whether it stands, which rank 0 tells all who wait for it."""
        tree: dict[str, Any] = {"parts": [self._kept(part) for part in self._parts]}
        if user is not None:
            tree["user"] = dict(user)
        stands = self._ready_saver().save(state.packed(tree, self._spec.rank), self._manifest(), wait)
        if not wait or self._spec.world_size == 1:
            return stands
        self._waited += 1
        return told_by_rank_0(f"checkpoint {self._waited} stands", stands)

    def _kept(self, part: Part) -> dict[str, Any]:
        rate = {} if part.rate is None else {"rate": part.rate.state()}
        with self._pace.kept():
            trained = self._strategy.state(part.model, part.optimizer)
        return {"trained": trained, **part.others, **rate}

    def _manifest(self) -> Manifest:
        spec = self._spec
        return Manifest(
            run=spec.run_id,
            attempt=spec.attempt,
            steps=self.steps,
            reported=self.reported,
            world_size=spec.world_size,
            time=time.time(),
            loaders=[{} if part.loader is None else part.loader.position() for part in self._parts],
            stepped=self._pace.step,
        )

    def _ready_saver(self) -> Saver:
        if self._saver is None:
            spec = self._spec
            if spec.world_size > 1:
                self._join()
            folder, keep = checkpoints.folder_of(spec.folder), spec.keeping.checkpoint_keep
            self._saver = Saver(folder, spec.rank, spec.world_size, keep, self._saved, self._unsaved)
        return self._saver

    def _saved(self, manifest: Manifest, seconds: float) -> None:
        self._link.send(
            "checkpoint",
            {"step": manifest.reported, "time": manifest.time, "bytes": manifest.bytes, "seconds": seconds},
        )

    def _unsaved(self, error: str) -> None:
        say(f"The checkpoint could not be written ({error}); the one before it stands.")
        self._link.send("unsaved", None)

    def _resumable(self, most: int | None = None) -> None:
        if self._spec.rank == 0 and most not in self._batches:
            self._batches.add(most)
            self._link.send("resumable", {"most": most})

    def _shared_store(self) -> Store | None:
        return self.store() if self._spec.world_size > 1 else None

    def store(self) -> Any:
        """The ranks' meeting point, for what they must agree on."""
        if self._store is None:
            self._store = self._meet()
        return self._store

    @staticmethod
    def _meet() -> Any:
        """A connection of its own to that point: one that waits there holds up all who share it."""
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        dist: Any = torch.distributed
        client = dist.TCPStore(address, port, is_master=False, wait_for_workers=False)
        return dist.PrefixStore("aios", client)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
