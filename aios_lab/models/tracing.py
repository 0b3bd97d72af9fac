"""From a live model to a graph: ``torch.fx`` with the layers of our vocabulary as leaves."""

from __future__ import annotations

import linecache
import operator
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

from . import vocabulary
from .errors import NotStorable

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
_FRAME = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+), in (?P<function>.*)')


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel and ``torch.compile`` wrappers."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace ``model`` in evaluation mode; the model itself is left as it was.

    The graph's modules and tensors are the model's own, not copies. Layers that ``forward`` never calls are
    left out.

    Raises:
        NotStorable: ``forward`` does something that a graph cannot hold; the message names the layer and the
        line.
    """
    tracer = _LeafTracer()
    with _evaluation_mode(model), _without_new_attributes(model):
        try:
            graph = tracer.trace(model)
            return fx.GraphModule(model, graph, type(model).__name__)
        except NotStorable:
            raise
        except Exception as error:  # forward is the user's code: it may raise anything when given proxies
            raise _explain(tracer, model, error) from error


class _LeafTracer(fx.Tracer):
    """Keeps layers of the vocabulary whole, and remembers where in the model it is."""

    proxy_buffer_attributes = True  # so that ``self.mask[:length]`` with a traced length is part of the graph

    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True
        self.path: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return vocabulary.layer_name(m) is not None

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """``for part in x.chunk(3)``: the number of parts stands in the call."""
        node = obj.node
        if node.target in ("chunk", torch.chunk):
            count = node.kwargs.get("chunks", node.args[1] if len(node.args) > 1 else None)
            if isinstance(count, int):
                return iter([operator.getitem(obj, index) for index in range(count)])
        return super().iter(obj)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.path.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        return result


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _without_new_attributes(model: nn.Module) -> Iterator[None]:
    """fx hangs constants of ``forward`` onto the model that it traces; take them off again."""
    before = set(vars(model))
    try:
        yield
    finally:
        for name in set(vars(model)) - before:
            delattr(model, name)


def _explain(tracer: _LeafTracer, model: nn.Module, error: Exception) -> NotStorable:
    inside = tracer.path[-1] if tracer.path else ""
    name = type(model).__name__
    owner = f"layer '{inside}' of {name}" if inside else name
    where = _user_line(error)
    line = f" at {where}" if where else ""
    what = "branches or loops on tensor values" if isinstance(error, TraceError) else f"raises: {error}"
    return NotStorable(
        f"The forward of {owner} cannot be stored as a graph:{line} it {what}.",
        "Replace Python decisions on tensors by torch.where or by settings made in __init__, "
        "or put the class into an installed module whose __init__ keeps its plain arguments as attributes.",
        reason="not_traceable",
    )


def _user_line(error: Exception) -> str:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_OURS) and frame.filename != "<frozen importlib._bootstrap>":
            return f"line {frame.lineno} of {_short(frame.filename)} ('{(frame.line or '').strip()}')"
    return ""


def line_of(node: fx.Node) -> str:
    """Where in the user's code a node comes from, as text; empty when it is not known."""
    for match in reversed(list(_FRAME.finditer(node.stack_trace or ""))):
        if not match["file"].startswith((*_OURS, sys.prefix)):
            number = int(match["line"])
            source = linecache.getline(match["file"], number).strip()
            return f"line {number} of {_short(match['file'])} ('{source}')"
    return ""


def _short(filename: str) -> str:
    # A notebook's cells live in files with long temporary names that tell the reader nothing.
    return "the cell" if "ipykernel" in filename or filename.startswith("<ipython") else Path(filename).name
