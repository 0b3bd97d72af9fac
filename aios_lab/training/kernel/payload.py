"""From what a user wrote to bytes that a rank can run: functions by value, scripts as text."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle

from aios_lab.training.errors import CannotTrain
from aios_lab.training.spec import Script, Work

_CONTEXT_NAMES = ("ctx", "context")


def function_work(function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> Work:
    """The work of calling ``function`` on every rank, with the context first where it takes one.

    Raises:
        CannotTrain: not callable, or the arguments do not fit it.
    """
    if not callable(function):
        raise CannotTrain(f"train() needs a function, not {function!r}. For a file or text use script=….")
    wants = _wants_context(function, len(args), options)
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have none: Python checks the call on the rank
        return Work(function, tuple(args), options, wants)
    try:
        signature.bind(*((None,) if wants else ()), *args, **options)
    except TypeError as error:
        raise CannotTrain(
            f"{_name(function)}{signature} cannot be called with the arguments given: {error}. "
            "Options of train() that it does not know itself go to the function."
        ) from None
    return Work(function, tuple(args), options, wants)


def script_work(script: str | os.PathLike[str], args: Sequence[str]) -> Work:
    """The work of running a script: a path, or its text.

    Raises:
        CannotTrain: the file is not there, or the text is not Python.
    """
    path, text = _read(script)
    try:
        compile(text, path or "<script>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise CannotTrain(f"The script is not valid Python: line {error.lineno}: {error.msg}.") from error
    return Work(script=Script(text, path, tuple(str(a) for a in args)))


def pack(work: Work) -> bytes:
    """The pickled work. What ``__main__`` defines travels by value.

    Raises:
        CannotTrain: something cannot travel; the message names the object.
    """
    try:
        return bytes(cloudpickle.dumps(work))
    except Exception as error:  # pickling runs __reduce__ of any class: every error of it means the same here
        culprit = _culprit(work)
        raise CannotTrain(
            f"{culprit} cannot be sent to the ranks: {type(error).__name__}: {error}. "
            "Create it inside the function instead of using it from outside."
        ) from error


def source_of(function: Any) -> str:
    """The text of a function; empty for None, and where it was defined where no source is kept."""
    try:
        return inspect.getsource(function) if function is not None else ""
    except (OSError, TypeError):
        return ""


def cell_sources(work: Work) -> dict[str, list[str]]:
    """Source lines of the cells that the function and its helpers come from, for tracebacks on the ranks."""
    files: set[str] = set()
    for function in _functions(work.function):
        files.add(function.__code__.co_filename)
    sources: dict[str, list[str]] = {}
    for name in files:
        if not os.path.exists(name) and (lines := linecache.getlines(name)):
            sources[name] = lines
    return sources


def import_path() -> tuple[str, ...]:
    """The kernel's import path, so that a rank finds the modules that lie beside the notebook."""
    return tuple(dict.fromkeys(os.path.abspath(entry or os.getcwd()) for entry in sys.path))


def _wants_context(function: Callable[..., Any], given: int, options: dict[str, Any]) -> bool:
    """Whether the first parameter is for the context: by its name, or since nothing else would fill it."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not places or places[0].name in options:
        return False
    required = [p for p in places if p.default is p.empty and p.name not in options]
    return places[0].name in _CONTEXT_NAMES or (places[0] in required and given < len(required))


def _read(script: str | os.PathLike[str]) -> tuple[str, str]:
    if isinstance(script, str) and "\n" in script:
        return "", script
    path = Path(script).expanduser()
    if isinstance(script, str) and path.suffix != ".py" and not path.is_file():
        return "", script
    try:
        return str(path.resolve()), path.read_text(encoding="utf-8")
    except OSError as error:
        raise CannotTrain(f"The script {path} cannot be read: {error.strerror}.") from error


def _functions(root: Any) -> Iterator[FunctionType]:
    """The function and those that its module defines beside it (in a notebook: all cells)."""
    if not isinstance(root, FunctionType):
        root = getattr(root, "__func__", None) or vars(type(root)).get("__call__")
    if not isinstance(root, FunctionType):
        return
    yield root
    for value in list(root.__globals__.values()):
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type):
            yield from (v for v in vars(value).values() if isinstance(v, FunctionType))


def _culprit(work: Work) -> str:
    """Names the smallest thing that cannot be pickled, as the user knows it."""
    for place, value in [*enumerate(work.args), *(work.options or {}).items()]:
        if not _travels(value):
            return f"The argument {place!r} (a {type(value).__qualname__})"
    function = work.function
    if isinstance(function, FunctionType):
        used = inspect.getclosurevars(function)
        for name, value in {**used.globals, **used.nonlocals}.items():
            if not _travels(value):
                return f"{name!r} (a {type(value).__qualname__}), which {_name(function)}() uses,"
    return f"{_name(function)}()"


def _travels(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # as in pack(): any error means that it does not travel
        return False
    return True


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
