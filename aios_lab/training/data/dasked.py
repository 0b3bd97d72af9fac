"""Dask collections and lists of Delayed: each partition is computed once, on a worker, and written there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aios_lab.training.data.gather import run_tasks, write_value
from aios_lab.training.data.prepared import Prepared
from aios_lab.training.data.source import Source, Workshop, counted, refuse


class Partitions:
    """Delayed partitions, in order; arrays in a tuple or dict or alone, frames, or lists of samples."""

    def __init__(self, kind: str, partitions: Sequence[Any]) -> None:
        if not partitions:
            refuse(f"The data ({kind}) has no partitions: there is nothing to train on.")
        self._kind, self._partitions = kind, list(partitions)

    def prepare(self, workshop: Workshop) -> Source:
        from dask.delayed import delayed

        where = f"{self._kind} with {counted(len(self._partitions), 'partition')}"
        writing = delayed(write_value, pure=False)
        tasks = [
            writing(partition, f"Partition {n} of the {self._kind}", str(workshop.folder / str(n)))
            for n, partition in enumerate(self._partitions)
        ]
        return Prepared(self._kind, where, run_tasks(tasks, workshop, "partition"))


def is_dask(value: Any) -> bool:
    return hasattr(value, "__dask_graph__") or is_future(value)


def is_future(value: Any) -> bool:
    return type(value).__module__ == "distributed.client" and type(value).__name__ == "Future"


def partitions(value: Any) -> Partitions:
    """Of one collection: an Array by its first axis, a DataFrame, a Series, a Bag or a Delayed."""
    if is_future(value) or type(value).__module__ == "dask.delayed":  # whose every attribute is a Delayed
        return Partitions("Dask Delayed", [value])
    kind = f"Dask {type(value).__name__}"
    if not hasattr(value, "chunks"):
        return Partitions(kind, value.to_delayed())
    return Partitions(kind, by_rows(value).to_delayed().ravel().tolist())


def together(arrays: dict[str, Any] | tuple[Any, ...]) -> Partitions:
    """Of a tuple or dict of collections and arrays, whose rows belong together."""
    from dask.delayed import delayed

    names = list(arrays) if isinstance(arrays, dict) else None
    values = list(arrays.values() if isinstance(arrays, dict) else arrays)
    columns = [one.to_delayed().ravel().tolist() for one in _aligned([_array(value) for value in values])]
    rows = list(zip(*columns, strict=True))
    if names is None:
        return Partitions("Dask Arrays", [delayed(tuple)(list(row)) for row in rows])
    return Partitions("Dask Arrays", [delayed(dict)(list(zip(names, row, strict=True))) for row in rows])


def by_rows(array: Any) -> Any:
    """The array in chunks that hold whole rows."""
    if not array.ndim:
        refuse("The Dask Array is a single number: an array needs rows.")
    return array.rechunk(dict.fromkeys(range(1, array.ndim), -1))


def _array(value: Any) -> Any:
    import dask.array as da

    if hasattr(value, "to_dask_array"):
        value = value.to_dask_array()
    if isinstance(value, da.Array):
        return by_rows(value)
    if is_dask(value):
        refuse(f"A {type(value).__name__} cannot stand in a tuple or dict: make it a Dask Array first.")
    from aios_lab.training.data.block import array_of

    from_array: Any = da.from_array  # it has no types

    return by_rows(from_array(array_of(value, "The data")))


def _aligned(arrays: list[Any]) -> list[Any]:
    """With the same rows in each chunk; where rows are unknown, with as many chunks."""
    lengths = [len(array) if array.shape[0] == array.shape[0] else None for array in arrays]
    if None in lengths:
        if len({array.numblocks[0] for array in arrays}) > 1:
            told = ", ".join(str(array.numblocks[0]) for array in arrays)
            refuse(
                f"The arrays have {told} chunks of rows, and some don't know how many rows: call "
                "compute_chunk_sizes() on them first."
            )
        return arrays
    if len(set(lengths)) > 1:
        refuse(f"All must have the same number of rows, but they have {', '.join(map(str, lengths))}.")
    smallest = min((array.chunks[0] for array in arrays), key=max)
    return [array.rechunk({0: smallest}) for array in arrays]
