"""A model's tensors by name: collected for storing, with tied ones kept once, and set again after loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .codec import check_path, malformed
from .errors import NotStorable

Json = Any


def collect(module: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Json]]:
    """All tensors to store, and what is to be known about them.

    Returns:
        ``({name: CPU tensor}, {"parameters": {name: trainable}, "buffers": [name], "tied": {name: first
        name}})``. Buffers include those that ``state_dict`` leaves out.

    Raises:
        NotStorable: a tensor is not dense, or still has no data.
    """
    stored: dict[str, torch.Tensor] = {}
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    buffers = dict(module.named_buffers(remove_duplicate=False))
    for name, tensor in (parameters | buffers).items():
        if id(tensor) in first:
            tied[name] = first[id(tensor)]
            continue
        first[id(tensor)] = name
        stored[name] = _dense(name, tensor)
    about = {
        "parameters": {name: tensor.requires_grad for name, tensor in parameters.items()},
        "buffers": list(buffers),
        "tied": tied,
    }
    return stored, about


def _dense(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
        raise NotStorable(
            f"The tensor '{name}' is not a dense tensor with data.",
            "Run the model once so that lazy layers are made, and store dense weights.",
        )
    # Two names may look into one storage; each gets its own bytes, so that no file holds half of another's.
    return tensor.detach().to("cpu", copy=True).contiguous()


def assign(module: nn.Module, stored: Mapping[str, torch.Tensor], about: Json) -> None:
    """Set the tensors of a freshly built module; tied names share one tensor again.

    Raises:
        BadBundle: a tensor is missing, left over, or of the wrong shape.
    """
    try:
        parameters, buffers, tied = dict(about["parameters"]), list(about["buffers"]), dict(about["tied"])
    except (TypeError, KeyError, ValueError) as error:
        raise malformed("the list of tensors") from error
    if set(parameters) | set(buffers) != set(stored) | set(tied):
        raise malformed("the list of tensors")
    made: dict[str, torch.Tensor] = {}
    for name in [*stored, *tied]:
        source = tied.get(name, name)
        if source not in stored:
            raise malformed(f"the shared tensor {name!r}")
        if source not in made:
            made[source] = _tensor(stored[source], parameters.get(source))
        _put(module, check_path(name), made[source])
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise malformed("the list of tensors")


def _tensor(value: torch.Tensor, trainable: object) -> torch.Tensor:
    if trainable is None:
        return value
    may_train = bool(trainable) and (value.is_floating_point() or value.is_complex())
    return nn.Parameter(value, requires_grad=may_train)


def _put(module: nn.Module, path: str, tensor: torch.Tensor) -> None:
    owner_path, _, name = path.rpartition(".")
    try:
        owner = module.get_submodule(owner_path)
        present = getattr(owner, name)
    except AttributeError as error:
        raise malformed(f"the tensor {path!r}") from error
    # What the graph reads directly starts as an empty place; a layer's own tensor has its shape already.
    is_place = isinstance(present, torch.Tensor) and present.is_meta and present.numel() == 0
    if not isinstance(present, torch.Tensor) or (present.shape != tensor.shape and not is_place):
        raise malformed(f"the shape of the tensor {path!r}")
    if isinstance(tensor, nn.Parameter):
        owner._buffers.pop(name, None)
        owner.register_parameter(name, tensor)
    else:
        persistent = name not in owner._non_persistent_buffers_set
        owner.register_buffer(name, tensor, persistent=persistent)
