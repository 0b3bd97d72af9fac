"""The repeated parts of a model, such as a Transformer's layers: sharded and recomputed one by one."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from aios_lab.training.errors import CannotTrain


def blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost members of its lists and sequences that have parts themselves, and parameters."""
    found: list[nn.Module] = []
    _collect(model, found)
    return list(dict.fromkeys(found))


def _collect(module: nn.Module, found: list[nn.Module]) -> None:
    for child in module.children():
        listed = isinstance(module, (nn.ModuleList, nn.Sequential))
        if listed and _is_block(child):
            found.append(child)
        else:
            _collect(child, found)


def _is_block(module: nn.Module) -> bool:
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        return False
    return any(True for _ in module.children()) and any(p.requires_grad for p in module.parameters())


def recompute(model: nn.Module) -> None:
    """Have the model's blocks keep no activations for the backward pass.

    Raises:
        CannotTrain: it has no blocks.
    """
    found = blocks(model)
    if not found:
        raise CannotTrain(
            "checkpoint_activations=True computes the blocks of a model again: members of a ModuleList or "
            f"Sequential that are made of layers themselves. {type(model).__name__} has none."
        )
    for block in found:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


class Skeleton:
    """A model's structure without its parameters, from which its own module is built again, whole."""

    def __init__(self, model: nn.Module) -> None:
        memo = {
            id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
            for p in model.parameters()
        }
        self._empty = copy.deepcopy(model, dict(memo))

    def filled(self, live: nn.Module, parameters: dict[str, torch.Tensor]) -> nn.Module:
        """The module with these parameters (not copies), and the buffers and modes of ``live``."""
        held = {
            id(empty): _parameter(parameters[name], empty) for name, empty in self._empty.named_parameters()
        }
        model = copy.deepcopy(self._empty, dict(held))
        for name, module in live.named_modules():
            mine = model.get_submodule(name)
            mine.training = module.training
            mine._buffers.update(module._buffers)
        return model


def _parameter(tensor: torch.Tensor, like: nn.Parameter) -> nn.Parameter:
    return tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, like.requires_grad)
