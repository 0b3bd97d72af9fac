"""MLflow without pandas, for a server that only keeps runs and models with it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Absent(MetaPathFinder):
    """Finds no pandas for one thread; others, such as those of another extension, find it as ever."""

    def __init__(self, thread: int) -> None:
        self._thread = thread

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is left out here", name=name)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """What this thread imports goes without pandas, if that is not there already.

    MLflow tracks runs and keeps models without it, as its own small edition does; it takes a third of the
    memory that MLflow costs.
    """
    absent = _Absent(threading.get_ident())
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
