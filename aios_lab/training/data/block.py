"""Rows as arrays: what a sample looks like, and blocks of samples out of what libraries hold rows in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aios_lab.training.data.source import refuse

Array = NDArray[Any]

_KINDS = ("bool", "float16", "float32", "float64", "complex64", "complex128")
NUMBERS = frozenset(
    {*_KINDS, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)  # torch's


@dataclass(frozen=True, slots=True)
class Shape:
    """A sample is one value, a tuple or a dict of values; ``names`` are the keys of a dict."""

    kind: Literal["one", "tuple", "dict"]
    names: tuple[str, ...] = ()

    def sample(self, values: Sequence[Any]) -> Any:
        if self.kind == "one":
            return values[0]
        return tuple(values) if self.kind == "tuple" else dict(zip(self.names, values, strict=True))

    def label(self, leaf: int) -> str:
        """What a user calls the leaf."""
        if self.kind == "dict":
            return f"column {self.names[leaf]!r}"
        return "the array" if self.kind == "one" else f"array {leaf}"


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one shape: ``leaves`` are arrays of equal length, of numbers or of objects."""

    shape: Shape
    leaves: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.leaves[0])

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in self.leaves)

    def rows(self, start: int, stop: int) -> Block:
        return Block(self.shape, tuple(leaf[start:stop] for leaf in self.leaves))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns of a table make a sample. With a target it is (inputs as one float32 tensor, target),
    else a dict of all columns."""

    columns: tuple[str, ...] | None = None
    target: str | None = None

    def needed(self, there: Sequence[str], where: str) -> list[str]:
        """The columns to read out of those ``there`` are; refuses those that there are not."""
        if not there:
            refuse(f"{where} has no columns.")
        wanted = list(there if self.columns is None else self.columns)
        if self.target is not None and self.target not in wanted:
            wanted.append(self.target)
        if missing := [name for name in wanted if name not in there]:
            refuse(f"{where} has no column {missing[0]!r}. It has {_listed(there)}.")
        if not wanted or wanted == [self.target]:
            refuse(f"{where}: no columns are left for the inputs. It has {_listed(there)}.")
        return wanted

    def block(self, columns: Mapping[str, Array]) -> Block:
        if self.target is None:
            return Block(Shape("dict", tuple(columns)), tuple(columns.values()))
        inputs = {name: column for name, column in columns.items() if name != self.target}
        for name, column in inputs.items():
            if column.dtype == object:
                refuse(
                    f"Column {name!r} holds no numbers, so it cannot be part of the inputs: name those "
                    f"that do in columns=[…], or leave target= out to get every column by its name."
                )
        target = columns[self.target]
        if target.dtype.kind == "f":
            target = target.astype(np.float32)
        stacked = np.stack([column.astype(np.float32) for column in inputs.values()], axis=1)
        return Block(Shape("tuple"), (stacked, target))


def block_of(value: Any, where: str) -> Block:
    """The rows of an array, a tensor, a tuple or dict of them, a pandas frame or series, a list of samples.

    Raises:
        CannotTrain: it is none of them, has no columns, or their lengths differ.
    """
    if hasattr(value, "iloc"):  # pandas, without importing it
        return _of_pandas(value, where)
    if isinstance(value, dict):
        if not value:
            refuse(f"{where} is a dict without arrays: there are no columns.")
        names = tuple(str(name) for name in value)
        return _checked(Shape("dict", names), [array_of(one, where) for one in value.values()], where)
    if isinstance(value, tuple):
        if not value:
            refuse(f"{where} is a tuple without arrays: there are no columns.")
        return _checked(Shape("tuple"), [array_of(one, where) for one in value], where)
    if isinstance(value, list):
        return Block(Shape("one"), (_objects(value),))
    return _checked(Shape("one"), [array_of(value, where)], where)


def array_of(value: Any, where: str) -> Array:
    """An array of numbers that torch knows, or of objects. Refuses what has no rows."""
    if hasattr(value, "iloc"):
        value = value.to_numpy()
    elif hasattr(value, "detach"):  # a tensor, without importing torch
        value = _of_tensor(value, where)
    if isinstance(value, list):
        return _objects(value)
    if not isinstance(value, np.ndarray):
        refuse(f"{where} holds a {type(value).__qualname__}, which is no array.")
    if value.ndim == 0:
        refuse(f"{where} holds a single number ({value}): an array needs rows.")
    return _plain(value, where)


def frame_columns(frame: Any) -> dict[str, Array]:
    """The columns of a pandas frame. Times become seconds since the epoch, missing texts None."""
    return {str(name): _column(frame.iloc[:, place]) for place, name in enumerate(frame.columns)}


def _checked(shape: Shape, leaves: list[Array], where: str) -> Block:
    lengths = [len(leaf) for leaf in leaves]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{shape.label(n)} has {length:,}" for n, length in enumerate(lengths))
        refuse(f"{where}: all must have the same number of rows, but {told}.")
    return Block(shape, tuple(leaves))


def _of_pandas(value: Any, where: str) -> Block:
    if value.ndim == 1:
        return Block(Shape("one"), (_column(value),))
    if not len(value.columns):
        refuse(f"{where} has no columns.")
    return Choice().block(frame_columns(value))


def _of_tensor(value: Any, where: str) -> Array:
    try:
        array: Array = value.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        refuse(f"{where} holds a tensor that NumPy cannot: {error}. Convert it, as by .float().")
    return array


def _column(series: Any) -> Array:
    import pandas as pd

    kind = series.dtype
    if isinstance(kind, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    elif isinstance(kind, np.dtype):
        pass
    elif pd.api.types.is_numeric_dtype(kind):  # pandas' own kinds, which know missing values
        number = getattr(kind, "numpy_dtype", np.dtype("float64"))
        if series.hasnans:
            return np.asarray(series.to_numpy(dtype="float64", na_value=np.nan))
        return np.asarray(series.to_numpy(dtype=number))
    values = np.asarray(series.to_numpy())
    if values.dtype.kind not in "OUS":
        return _plain(values, f"column {series.name!r}")
    return _objects([None if _missing(one) else one for one in series.tolist()])


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _objects(values: Iterable[Any]) -> Array:
    listed = list(values)
    array: Array = np.empty(len(listed), dtype=object)
    for place, value in enumerate(listed):
        array[place] = value
    return array


def _plain(array: Array, where: str) -> Array:
    """In a kind of number that torch has; texts as objects, times as seconds."""
    kind = array.dtype.kind
    if kind in "Mm":
        if kind == "M":
            array = array.astype("datetime64[us]") - np.datetime64(0, "us")
        return np.asarray(array / np.timedelta64(1, "s"))
    if kind in "OUS":
        return (
            array if array.ndim == 1 and kind == "O" else _objects(array.tolist() if kind != "O" else array)
        )
    if array.dtype.name not in NUMBERS:
        refuse(
            f"{where} holds {array.dtype}, which torch has no type for. Convert it, as by .astype('float32')."
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
