"""An architecture as pure data: JSON that rebuilds a model without a pickle and without the user's code.

``describe`` traces the model with ``torch.fx`` and writes its graph down: layers by name and arguments,
functions and methods by qualified name, all from :mod:`.vocabulary`. A model that cannot be traced is stored
as an import path when its class is installed and keeps plain constructor arguments. ``build`` makes a module
from the data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from . import importing, vocabulary
from .codec import Json, Unencodable, check_identifier, check_path, decode, encode, malformed
from .errors import NotStorable
from .layers import build_layer, describe_layer
from .tracing import line_of, trace, unwrap

GRAPH, IMPORT = "graph", "import"


def describe(model: nn.Module) -> tuple[dict[str, Json], nn.Module]:
    """Write an architecture down; returns the data and the module that owns the tensors to store with it.

    Raises:
        NotStorable: neither a graph nor an import path can hold it; the message names the layer or line.
    """
    model = unwrap(model)
    if vocabulary.layer_name(model) is not None:
        model = nn.Sequential(model)  # a graph needs something around its layers
    try:
        graph_module = model if isinstance(model, fx.GraphModule) else trace(model)
        return _describe_graph(graph_module), graph_module
    except NotStorable as problem:
        by_import = importing.describe(model)
        if by_import is None:
            raise problem
        return {"kind": IMPORT, **by_import}, model


def build(description: Json) -> nn.Module:
    """Make the module, in evaluation mode. Its tensors are still to be set; a graph's lie on the meta device.

    Raises:
        BadBundle: the data is malformed or names a layer, function or class that may not be used.
    """
    if not isinstance(description, dict):
        raise malformed("the architecture")
    match description.get("kind"):
        case "graph":
            return _build_graph(description).eval()
        case "import":
            return importing.build(description).eval()
    raise malformed(f"an architecture of kind {description.get('kind')!r}")


def _describe_graph(module: fx.GraphModule) -> dict[str, Json]:
    paths = dict.fromkeys(str(node.target) for node in module.graph.nodes if node.op == "call_module")
    return {
        "kind": GRAPH,
        "name": type(module).__name__ if type(module).__name__.isascii() else "Model",
        "modules": [describe_layer(path, module.get_submodule(path)) for path in paths],
        "nodes": [_describe_node(node) for node in module.graph.nodes],
    }


def _describe_node(node: fx.Node) -> dict[str, Json]:
    if node.op == "placeholder" and str(node.target).startswith("*"):
        raise NotStorable(
            f"The model's forward takes {node.target}, which a graph cannot hold.",
            "Name its arguments one by one.",
        )
    try:
        args, kwargs = encode(tuple(node.args)), {key: encode(value) for key, value in node.kwargs.items()}
    except Unencodable as error:
        raise _not_in_graph(node, f"uses {error}") from error
    data = {"op": node.op, "name": node.name, "target": _describe_target(node), "args": args["tuple"]}
    return {**data, "kwargs": kwargs} if kwargs else data


def _describe_target(node: fx.Node) -> str:
    if node.op == "call_function":
        name = vocabulary.function_name(node.target)
        if name is None:
            raise _not_in_graph(node, f"calls {getattr(node.target, '__qualname__', node.target)}")
        if name == "getattr" and node.args[1] not in vocabulary.ATTRIBUTES:
            raise _not_in_graph(node, f"reads the attribute {node.args[1]!r}")
        return name
    if node.op == "call_method" and node.target not in vocabulary.METHODS:
        raise _not_in_graph(node, f"calls the method {node.target}")
    return str(node.target)


def _not_in_graph(node: fx.Node, what: str) -> NotStorable:
    where = line_of(node)
    return NotStorable(
        f"The model's forward {what}{f' at {where}' if where else ''}, which cannot be stored as data.",
        "Use functions of torch, torch.nn.functional and operator on tensors instead.",
    )


def _build_graph(description: dict[str, Json]) -> fx.GraphModule:
    try:
        root: dict[str, Any] = {
            check_path(item["path"]): build_layer(item) for item in description["modules"]
        }
        graph = fx.Graph()
        nodes: dict[str, fx.Node] = {}
        for item in description["nodes"]:
            node = _build_node(graph, item, nodes)
            nodes[item["name"]] = node
            if node.op == "get_attr":
                root.setdefault(str(node.target), torch.empty(0, device="meta"))
            elif node.op == "call_module" and node.target not in root:
                raise malformed(f"a call of the missing layer {node.target!r}")
        graph.lint()
        return fx.GraphModule(root, graph, check_identifier(description["name"]))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, AssertionError) as error:
        raise malformed("the graph") from error


def _build_node(graph: fx.Graph, item: dict[str, Json], nodes: dict[str, fx.Node]) -> fx.Node:
    op, target = item["op"], item["target"]
    args = tuple(decode(value, nodes) for value in item["args"])
    kwargs = {check_identifier(key): decode(value, nodes) for key, value in item.get("kwargs", {}).items()}
    if vocabulary.FORBIDDEN_ARGUMENTS & set(kwargs):
        raise malformed(f"the arguments of {target!r}")
    name = check_identifier(item["name"])
    return graph.create_node(op, _target(op, target, args), args, kwargs, name=name)


def _target(op: str, target: Json, args: tuple[Any, ...]) -> Any:
    match op:
        case "placeholder" | "output":
            return check_identifier(target)
        case "get_attr" | "call_module":
            return check_path(target)
        case "call_method" if target in vocabulary.METHODS:
            return target
        case "call_function" if target in vocabulary.functions():
            if target != "getattr" or (len(args) == 2 and args[1] in vocabulary.ATTRIBUTES):
                return vocabulary.functions()[target]
    raise malformed(f"{op} of {target!r}")
