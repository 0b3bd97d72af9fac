"""Running the code of a magic's cell, and finding in it what is to be trained.

``shell`` is IPython's InteractiveShell, whose methods have no types.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from IPython.core.error import UsageError

NO_FUNCTION = (
    "%%aios train: the cell defines no function to train. Write one, such as\n"
    "  def train(ctx):\n      …\n"
    "or add --script to run the cell's text as a script on every rank."
)


def execute(shell: Any, cell: str) -> list[str]:
    """Run ``cell`` in the user's namespace as if it had no magic; gives the names of its functions, in order.

    An error of the cell is raised with the traceback that the cell alone would have shown.
    Raises UsageError where the cell is not valid Python.
    """
    source = "\n" + shell.transform_cell(cell)  # an empty line for the magic's, so that lines count alike
    # The same cache as for plain cells, so that tracebacks and pickles find the lines again.
    name = shell.compile.cache(source, shell.execution_count, raw_code=cell)
    try:
        tree = ast.parse(source, name)
        code = shell.compile(tree, name, "exec")
    except SyntaxError as error:
        where = f"line {error.lineno}: {error.msg}\n  {(error.text or '').strip()}"
        raise UsageError(f"%%aios train: the cell is not valid Python: {where}") from None
    try:
        exec(code, shell.user_global_ns, shell.user_ns)
    except Exception as error:
        _show_without_us(shell, error)
        raise
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def chosen(shell: Any, defined: list[str], wanted: str | None) -> Callable[..., Any]:
    """The function called ``wanted``, else the last that the cell defines. Raises UsageError without one."""
    if wanted is None:
        if not defined:
            raise UsageError(NO_FUNCTION)
        wanted = defined[-1]
    function: Callable[..., Any] | None = shell.user_ns.get(wanted)
    if not callable(function):
        have = f"It defines {', '.join(defined)}." if defined else "Run the cell that defines it first."
        raise UsageError(f"%aios train: there is no function {wanted!r}. {have}")
    return function


def check_options(function: Callable[..., Any], given: Iterable[str]) -> None:
    """Raises UsageError where the function has no parameter of a given name."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some builtins have no signature: the call itself will tell
        return
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    unknown = [name for name in given if name not in parameters]
    if unknown:
        title = getattr(function, "__name__", "the function")
        raise UsageError(
            f"%aios train: --set {unknown[0]}=… is not possible: {title}{inspect.signature(function)} "
            f"has no parameter {unknown[0]!r}."
        )


def _show_without_us(shell: Any, error: Exception) -> None:
    traceback: TracebackType | None = error.__traceback__
    inside = traceback.tb_next if traceback is not None else None
    lines = shell.InteractiveTB.structured_traceback(type(error), error, inside, tb_offset=0)
    error.__dict__["_render_traceback_"] = lambda: lines
