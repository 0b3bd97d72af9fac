"""Rows as files of arrays that ranks map into memory: every rank reads the rows that it needs, and no others.

Each part is written by whoever has it, a worker or the kernel. Files outlive both, so a run goes on with them
when its kernel ends, workers die, or its ranks become fewer or more; they go when the run ends.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from aios_lab.training.data.block import Array, Block, Shape
from aios_lab.training.data.source import Description, Digest, refuse

CHUNK = 64 * 2**20  # bytes that are digested and written at a time


@dataclass(frozen=True, slots=True)
class Column:
    """One leaf of a part: numbers of a ``dtype`` and rows of a ``shape``, or objects, without either.

    ``bare`` when it has no value at all, as an empty column of a table, whose kind nobody knows.
    """

    dtype: str | None
    shape: tuple[int, ...] = ()
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A written block, ``size`` bytes in files ``<path>-<leaf>.npy``, or ``.rec`` with ``.at.npy``."""

    path: str
    rows: int
    size: int
    shape: Shape
    columns: tuple[Column, ...]
    digest: bytes


def write(block: Block, path: str) -> Part:
    """Write a block. Raises OSError when the disk refuses."""
    digest = hashlib.sha256(repr(block.shape).encode())
    columns = [_write_leaf(leaf, f"{path}-{n}", digest) for n, leaf in enumerate(block.leaves)]
    written = sum(file.stat().st_size for n in range(len(columns)) for file in _files(path, n))
    return Part(path, len(block), written, block.shape, tuple(columns), digest.digest())


def write_all(blocks: Iterable[Block], path: str) -> list[Part]:
    """Write blocks as parts ``<path>.0``, ``<path>.1``…; one that has no rows counts, but has no files."""
    return [write(block, f"{path}.{n}") for n, block in enumerate(blocks)]


class Prepared:
    """The written parts of one data set, as a source."""

    def __init__(self, kind: str, where: str, parts: Sequence[Part]) -> None:
        self._kind, self._where = kind, where
        self._parts = [part for part in parts if part.rows]
        if not self._parts:
            refuse(f"{where} has no rows: there is nothing to train on.")
        self._shape = self._parts[0].shape
        for part in self._parts:
            if part.shape != self._shape or len(part.columns) != len(self._parts[0].columns):
                refuse(f"{where}: its parts differ: one has {_told(self._parts[0])}, another {_told(part)}.")
        leaves = range(len(self._parts[0].columns))
        self._dtypes = [self._unified(leaf, [part.columns[leaf] for part in self._parts]) for leaf in leaves]

    def describe(self) -> Description:
        rows = sum(part.rows for part in self._parts)
        return Description(self._kind, self._where, rows, self._shape.names, len(self._parts))

    def digest(self) -> Digest:
        whole = hashlib.sha256(b"".join(part.digest for part in self._parts))
        return Digest(whole.hexdigest(), "sha256")

    def open(self, rank: int, world: int) -> Any:
        from aios_lab.training.data.rows import MappedRows

        opened = partial(_open, self._parts, self._dtypes)
        return MappedRows(self._shape, [part.rows for part in self._parts], opened, world)

    def _unified(self, leaf: int, columns: list[Column]) -> str | None:
        """The one dtype of a leaf in all parts; None for objects."""
        label = self._shape.label(leaf)
        known = [column for column in columns if not column.bare] or columns
        if len({column.dtype is None for column in known}) > 1:
            refuse(
                f"{self._where}: {label} holds numbers in some parts and others in others. Make it one kind."
            )
        if len(shapes := sorted({column.shape for column in known})) > 1:
            told = " and ".join(str(shape) for shape in shapes[:2])
            refuse(f"{self._where}: the rows of {label} have different shapes, such as {told}.")
        if known[0].dtype is None:
            return None
        dtype = np.result_type(*[column.dtype for column in columns if column.dtype is not None])
        if dtype.kind not in "fc" and any(column.dtype is None for column in columns):
            return "float64"  # an empty column among whole numbers: it is all NaN there
        return str(dtype)


class Records:
    """Objects in a file, unpickled one by one; indexed by an array of rows as arrays are."""

    def __init__(self, path: str) -> None:
        self._bytes = np.memmap(f"{path}.rec", dtype=np.uint8, mode="r")
        self._at = np.load(f"{path}.at.npy", mmap_mode="r")

    def __getitem__(self, rows: Any) -> Array:
        found = np.empty(len(rows), dtype=object)
        for place, row in enumerate(rows):
            found[place] = pickle.loads(self._bytes[self._at[row] : self._at[row + 1]].data)
        return found


class Cast:
    """An array whose rows are handed out in the kind of number that all parts share."""

    def __init__(self, array: Array, dtype: str | None) -> None:
        self._array, self._dtype = array, dtype

    def __getitem__(self, rows: Any) -> Array:
        return np.asarray(self._array[rows]).astype(self._dtype, copy=False)


class Empty:
    """A column that has no values in this part, as the other parts have it: NaN, or None."""

    def __init__(self, dtype: str | None) -> None:
        self._dtype = dtype

    def __getitem__(self, rows: Any) -> Array:
        if self._dtype is None:
            return np.full(len(rows), None, dtype=object)
        return np.full(len(rows), np.nan, dtype=self._dtype)


def _open(parts: Sequence[Part], dtypes: Sequence[str | None], number: int) -> list[Any]:
    part = parts[number]
    return [_open_leaf(f"{part.path}-{n}", part.columns[n], dtype) for n, dtype in enumerate(dtypes)]


def _open_leaf(path: str, column: Column, dtype: str | None) -> Any:
    if column.bare and (column.dtype is None) != (dtype is None):
        return Empty(dtype)
    return Records(path) if column.dtype is None else Cast(np.load(f"{path}.npy", mmap_mode="r"), dtype)


def _write_leaf(leaf: Array, path: str, digest: Any) -> Column:
    if leaf.dtype == object:
        return _write_records(leaf, path, digest)
    digest.update(f"{leaf.dtype.str}{leaf.shape}".encode())
    with open(f"{path}.npy", "wb") as file:
        header = {"descr": leaf.dtype.str, "fortran_order": False, "shape": leaf.shape}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, CHUNK // max(1, leaf.nbytes // max(1, len(leaf))))
        for start in range(0, len(leaf), step):
            data = np.ascontiguousarray(leaf[start : start + step]).reshape(-1).view(np.uint8).data
            digest.update(data)
            file.write(data)
    bare = leaf.dtype.kind == "f" and leaf.ndim == 1 and bool(np.isnan(leaf).all())
    return Column(leaf.dtype.str, leaf.shape[1:], bare)


def _write_records(leaf: Array, path: str, digest: Any) -> Column:
    at = [0]
    with open(f"{path}.rec", "wb") as file:
        for value in leaf:
            data = cloudpickle.dumps(value, protocol=5)
            digest.update(data)
            at.append(at[-1] + file.write(data))
        file.write(b"\0")  # an empty file cannot be mapped
    np.save(f"{path}.at.npy", np.asarray(at, dtype=np.int64))
    return Column(None, bare=all(value is None for value in leaf))


def _files(path: str, leaf: int) -> list[Path]:
    names = (f"{path}-{leaf}.npy", f"{path}-{leaf}.rec", f"{path}-{leaf}.at.npy")
    return [Path(name) for name in names if Path(name).exists()]


def _told(part: Part) -> str:
    if part.shape.kind == "dict":
        return f"the columns {', '.join(part.shape.names)}"
    return "single values" if part.shape.kind == "one" else f"tuples of {len(part.columns)}"
