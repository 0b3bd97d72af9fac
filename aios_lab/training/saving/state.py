"""A rank's state as torch.distributed.checkpoint takes it: named tensors, and the rest as bytes.

What is not a tensor travels as a pickle beside them, with a place for each tensor, so that it comes back as
it was: numbers as keys, empty dictionaries and all.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict, load
from torch.distributed.tensor import DTensor

_REST = "rest"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor was."""

    path: str


def packed(tree: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """What this rank saves: its shards and random states, and of what all ranks have, rank 0 everything. That
    may differ between them, as buffers and the user's values do, and would come back mixed. Objects with a
    ``state_dict`` are saved by it."""
    tensors: dict[str, Any] = {}
    rest = {name: _without_tensors(value, name, tensors) for name, value in tree.items()}
    own = {_random(rank): pickle.dumps(_random_state())}
    if rank:
        return {path: tensor for path, tensor in tensors.items() if isinstance(tensor, DTensor)} | own
    return {**tensors, _REST: cloudpickle.dumps(rest), **own}


def unpacked(checkpoint: Path, rank: int) -> tuple[Saved, dict[str, Any] | None]:
    """What was kept, and the rank's random states if it had any."""
    reader = FileSystemReader(checkpoint)
    names = frozenset(reader.read_metadata().state_dict_metadata)
    flat = _read(checkpoint, {_REST, _random(rank)} & names)
    states = flat.get(_random(rank))
    return Saved(checkpoint, pickle.loads(flat[_REST])), None if states is None else pickle.loads(states)


class Saved:
    """A tree whose tensors are read when they are needed."""

    def __init__(self, checkpoint: Path, tree: dict[str, Any]) -> None:
        self._checkpoint = checkpoint
        self._tree = tree

    def get(self, *path: Any) -> Any:
        """What lies there, whole and on the CPU; None where nothing does."""
        part = self._at(path)
        return _with_tensors(part, _read(self._checkpoint, set(_places(part))))

    def into(self, template: Mapping[str, Any], *path: Any) -> Any:
        """The same, in the tensors of ``template``, of which a rank may have a part; others are read whole.

        Raises:
            ValueError: a tensor has another shape, or is missing.
        """
        part, name = self._at(path), ".".join(map(str, path))
        tensors: dict[str, Any] = {}
        _without_tensors(template, name, tensors)
        saved = set(_places(part))
        if missing := sorted(tensors.keys() - saved):
            raise ValueError(f"it has no {missing[0].removeprefix(name + '.')}")
        load(tensors, storage_reader=FileSystemReader(self._checkpoint), no_dist=True)
        return _with_tensors(part, tensors | _read(self._checkpoint, saved - tensors.keys()))

    def _at(self, path: tuple[Any, ...]) -> Any:
        part: Any = self._tree
        for key in path:
            part = part.get(key) if isinstance(part, Mapping) else part[key] if key < len(part) else None
            if part is None:
                return None
        return part


def _read(checkpoint: Path, names: set[str]) -> dict[str, Any]:
    """These entries of a checkpoint, whole and on the CPU."""
    flat: dict[str, Any] = {}
    if names:
        make: Any = _EmptyStateDictLoadPlanner  # it has no types
        planner = make(keys=names)
        _load_state_dict(flat, storage_reader=FileSystemReader(checkpoint), planner=planner, no_dist=True)
    return flat


def _places(value: Any) -> Iterator[str]:
    if isinstance(value, _Place):
        yield value.path
    elif isinstance(value, Mapping) or type(value) in (list, tuple):
        for _, child in _children(value):
            yield from _places(child)


def restore_random(states: dict[str, Any] | None, seed: int) -> None:
    """Go on with these random states; a rank that did not exist then begins with ``seed``."""
    if states is None:
        torch.manual_seed(seed)
        random.seed(seed)
        return
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "numpy" in states:
        import numpy as np

        np.random.set_state(states["numpy"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _random_state() -> dict[str, Any]:
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if "numpy" in sys.modules:
        states["numpy"] = sys.modules["numpy"].random.get_state()
    cuda: Any = torch.cuda  # it has hardly any types
    if cuda.is_available() and cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _random(rank: int) -> str:
    return f"random.{rank}"


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    return iter(value.items()) if isinstance(value, Mapping) else enumerate(value)


def _without_tensors(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach()
        return _Place(path)
    if callable(getattr(value, "state_dict", None)):
        value = value.state_dict()
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        parts = {key: _without_tensors(child, f"{path}.{key}", tensors) for key, child in _children(value)}
        return parts if isinstance(value, Mapping) else type(value)(parts.values())
    return value


def _with_tensors(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, _Place):
        return tensors[value.path]
    if isinstance(value, Mapping):
        return {key: _with_tensors(child, tensors) for key, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_with_tensors(child, tensors) for child in value)
    return value
