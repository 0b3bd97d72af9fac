"""Layers of ``torch.nn`` as data: the class's name and the arguments that make an equal one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from . import vocabulary
from .codec import Json, Unencodable, decode, encode, malformed
from .errors import NotStorable

_ACTIVATIONS = {"relu": functional.relu, "gelu": functional.gelu}


def _attention(name: str, layer: nn.MultiheadAttention) -> Any:
    match name:
        case "bias":
            return layer.in_proj_bias is not None
        case "add_bias_kv":
            return layer.bias_k is not None
    return getattr(layer, name)


def _encoder_layer(name: str, layer: nn.TransformerEncoderLayer) -> Any:
    match name:
        case "d_model":
            return layer.linear1.in_features
        case "dim_feedforward":
            return layer.linear1.out_features
        case "bias":
            return layer.linear1.bias is not None
        case "nhead":
            return layer.self_attn.num_heads
        case "batch_first":
            return layer.self_attn.batch_first
        case "dropout":
            return layer.dropout.p
        case "layer_norm_eps":
            return layer.norm1.eps
        case "activation":
            return _activation_name(layer.activation)
    return getattr(layer, name)


def _activation_name(activation: object) -> str:
    for name, function in _ACTIVATIONS.items():
        if activation is function or type(activation).__name__.lower() == name:
            return name
    raise Unencodable("an activation other than relu and gelu")


_GETTERS: dict[str, Callable[[str, Any], Any]] = {
    "MultiheadAttention": _attention,
    "TransformerEncoderLayer": _encoder_layer,
}


def describe_layer(path: str, module: nn.Module) -> dict[str, Json]:
    """A layer as ``{"path", "type", "args"}``.

    Raises:
        NotStorable: its class is no layer of the vocabulary, or an argument cannot be written down.
    """
    name = vocabulary.layer_name(module)
    if name is None:
        kind = type(module)
        raise NotStorable(
            f"Layer '{path}' is a {kind.__module__}.{kind.__qualname__}, which cannot be stored as data.",
            "Build it from torch.nn layers.",
        )
    getter: Callable[[str, Any], Any] = _GETTERS.get(name, _plain)
    try:
        args = {argument: encode(getter(argument, module)) for argument in vocabulary.LAYERS[name]}
    except (Unencodable, AttributeError) as error:
        raise NotStorable(
            f"Layer '{path}' ({name}) cannot be stored as data: it has {error}.",
            "Make the layer with plain numbers, strings or tuples as arguments.",
        ) from error
    return {"path": path, "type": name, "args": args}


def _plain(name: str, layer: nn.Module) -> Any:
    value = getattr(layer, name)
    return value is not None if name == "bias" and not isinstance(value, bool) else value


def build_layer(description: Json) -> nn.Module:
    """Make the layer again, on the meta device: it has shapes, and its tensors are set afterwards.

    Raises:
        BadBundle: the description names no known layer, or its arguments make none.
    """
    try:
        name, args = description["type"], description["args"]
        kind = vocabulary.layer_class(name)
        if kind is None or set(args) - set(vocabulary.LAYERS[name]):
            raise malformed(f"the layer {description!r}")
        with torch.device("meta"):
            build: Callable[..., nn.Module] = kind
            return build(**{key: decode(value, {}) for key, value in args.items()})
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError, AttributeError) as error:
        raise malformed(f"the layer {description!r}") from error
