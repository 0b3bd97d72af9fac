"""Writes a rank's part of a checkpoint, beside the training or while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed.checkpoint import filesystem, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import BlockingAsyncStager

from aios_lab.training.saving import checkpoints
from aios_lab.training.saving.checkpoints import Manifest

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Saver:
    """One at a time: who saves again waits for the one before. All ranks call ``save`` at the same step."""

    def __init__(
        self,
        folder: Path,
        rank: int,
        world: int,
        keep: int,
        saved: Callable[[Manifest, float], None],
        failed: Callable[[str], None],
    ) -> None:
        """On rank 0 ``saved`` is called, with the seconds that it took, once a checkpoint stands, or
        ``failed`` with the reason why it does not."""
        self._folder, self._rank, self._world, self._keep = folder, rank, world, keep
        self._saved, self._failed = saved, failed
        self._group: ProcessGroup | None = None
        self._writing: threading.Thread | None = None

    def save(self, state: dict[str, Any], manifest: Manifest, wait: bool) -> bool:
        """``state`` is copied first, unless the training waits anyway; then, on rank 0, whether it stands."""
        self.join()
        if self._world > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")  # of its own: the training goes on meanwhile
        if wait:
            return self._write(state, manifest)
        copied = BlockingAsyncStager().stage(state)
        self._writing = threading.Thread(target=self._write, args=(copied, manifest), name="aios-checkpoint")
        self._writing.daemon = True
        self._writing.start()
        return True

    def join(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def _write(self, state: dict[str, Any], manifest: Manifest) -> bool:
        begin = time.monotonic()
        draft = checkpoints.draft(self._folder, manifest.steps, manifest.attempt)
        try:
            writer = filesystem.FileSystemWriter(draft)
            state_dict_saver.save(
                state, storage_writer=writer, process_group=self._group, no_dist=self._group is None
            )
            if self._rank == 0:
                _, whole = checkpoints.commit(draft, manifest, self._keep)
                self._saved(whole, time.monotonic() - begin)
        except (Exception, CheckpointException) as error:  # the training itself is well
            if self._rank == 0:
                self._failed(_short(error))
            return False
        return True


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
