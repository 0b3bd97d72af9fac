"""Data that the kernel holds: NumPy arrays, tensors, pandas frames, and any map-style dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cloudpickle

from aios_lab.training.data.block import Block
from aios_lab.training.data.gather import check_shared
from aios_lab.training.data.prepared import CHUNK, Part, Prepared, write
from aios_lab.training.data.source import Description, Digest, Source, Workshop, refuse, size


class Arrays:
    """Rows in the kernel's memory. They go to files, of which each rank maps what it reads."""

    def __init__(self, kind: str, block: Block) -> None:
        if not len(block):
            refuse(f"The data ({kind}) has no rows: there is nothing to train on.")
        self._kind, self._block = kind, block

    def prepare(self, workshop: Workshop) -> Source:
        workshop.folder.mkdir(parents=True, exist_ok=True)
        check_shared(workshop)
        block, written = self._block, 0
        parts: list[Part] = []
        step = max(1, CHUNK // max(1, block.nbytes // len(block)))
        for start in range(0, len(block), step):
            piece = block.rows(start, start + step)
            parts.append(write(piece, str(workshop.folder / str(len(parts)))))
            written += parts[-1].size
            workshop.say(f"{size(written)} written")
        return Prepared(self._kind, "the notebook", parts)


class Objects:
    """A dataset whose samples only it can make, such as one that reads files of its own. It goes to a file
    once, and every rank loads it from there as a whole."""

    def __init__(self, dataset: Any) -> None:
        self._kind = type(dataset).__qualname__
        try:
            self._rows = len(dataset)
        except (TypeError, NotImplementedError):
            refuse(
                f"The dataset (a {self._kind}) has no length, so it cannot be shared out: give it a __len__."
            )
        if not self._rows:
            refuse(f"The dataset (a {self._kind}) has no samples: there is nothing to train on.")
        try:
            self._packed = cloudpickle.dumps(dataset, protocol=5)
        except Exception as error:  # pickling runs code of the dataset's own
            refuse(
                f"The dataset (a {self._kind}) cannot be sent to the ranks: {type(error).__name__}: {error}. "
                "Open files and connections in its __getitem__, not in its __init__."
            )

    def prepare(self, workshop: Workshop) -> Source:
        workshop.folder.mkdir(parents=True, exist_ok=True)
        check_shared(workshop)
        path = workshop.folder / "dataset.pkl"
        path.write_bytes(self._packed)
        workshop.say(f"{size(len(self._packed))} written")
        return Pickled(self._kind, self._rows, path, hashlib.sha256(self._packed).hexdigest())


class Pickled:
    """A dataset in a file of the run, as a source."""

    def __init__(self, kind: str, rows: int, path: Path, digest: str) -> None:
        self._kind, self._rows, self._path, self._digest = kind, rows, path, digest

    def describe(self) -> Description:
        return Description(self._kind, "the notebook", self._rows)

    def digest(self) -> Digest:
        return Digest(self._digest, "pickle")

    def open(self, rank: int, world: int) -> Any:
        with open(self._path, "rb") as file:
            return cloudpickle.load(file)
