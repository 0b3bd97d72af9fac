"""From whatever a user gives as data to what can be prepared, or a refusal that says what is possible."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from aios_lab.training.data import dasked
from aios_lab.training.data.block import block_of
from aios_lab.training.data.files import Files, found
from aios_lab.training.data.memory import Arrays, Objects
from aios_lab.training.data.source import Given, refuse

POSSIBLE = (
    "data= takes a path or URL of Parquet, CSV or image files (Files(…) has options); NumPy arrays, tensors "
    "or pandas frames, alone or in a tuple or dict; a Dask Array, DataFrame or Bag; a list of Dask Delayed; "
    "or a map-style torch Dataset."
)


def look(data: Any) -> Given:
    """Find out what ``data`` is. Files are listed; nothing is computed or read as a whole.

    Raises:
        CannotTrain: nobody could train on it; the message says what was given and what is possible.
    """
    if isinstance(data, (str, os.PathLike)):
        return found(Files(data))
    if isinstance(data, Files):
        return found(data)
    if dasked.is_dask(data):
        return dasked.partitions(data)
    if isinstance(data, list):
        return _of_list(data)
    if isinstance(data, (tuple, dict)):
        values = list(data.values() if isinstance(data, dict) else data)
        return dasked.together(data) if any(map(dasked.is_dask, values)) else _in_memory(data)
    if _is_array(data):
        return _in_memory(data)
    return _of_dataset(data)


def _of_list(data: list[Any]) -> Given:
    if data and all(map(dasked.is_dask, data)):
        return dasked.Partitions("Dask Delayed", data)
    if data and all(isinstance(one, (str, os.PathLike)) for one in data):
        return found(Files(data))
    if not data:
        refuse(f"data=[] is empty. {POSSIBLE}")
    refuse(f"data is a list of {type(data[0]).__qualname__}. {POSSIBLE}")


def _in_memory(data: Any) -> Arrays:
    first = next(iter(data.values() if isinstance(data, dict) else data), data) if _is_group(data) else data
    kind = "pandas" if hasattr(first, "iloc") else "tensors" if _is_tensor(first) else "NumPy arrays"
    return Arrays(kind, block_of(data, "The data"))


def _of_dataset(data: Any) -> Given:
    kind = type(data)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.utils.data.IterableDataset):
        refuse(
            f"data is an IterableDataset ({kind.__qualname__}), whose samples cannot be taken by number. "
            "Make it map-style, with __len__ and __getitem__."
        )
    if torch is not None and isinstance(data, torch.utils.data.DataLoader):
        refuse("data is a DataLoader: give its dataset, and make the DataLoader of ctx.data in the function.")
    if torch is not None and kind is torch.utils.data.TensorDataset:
        return _in_memory(tuple(data.tensors))
    if hasattr(kind, "__getitem__") and hasattr(kind, "__len__"):
        return Objects(data)
    refuse(f"data is of type {kind.__qualname__}, which is no kind of data that training knows. {POSSIBLE}")


def _is_group(data: Any) -> bool:
    return isinstance(data, (tuple, dict))


def _is_tensor(data: Any) -> bool:
    return hasattr(data, "detach")


def _is_array(data: Any) -> bool:
    return hasattr(data, "iloc") or _is_tensor(data) or isinstance(data, np.ndarray)
