"""How ranks work together: small objects behind one interface, chosen by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aios_lab.training.errors import CannotTrain

if TYPE_CHECKING:
    import torch


class Strategy(Protocol):
    """One way of training a model on several ranks."""

    name: str

    def backend(self, device: torch.device) -> str:
        """The process group's backend for ranks on ``device``."""

    def wrap(self, model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """The model on ``device``, made to train together; the process group exists already."""

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The user's own module out of what ``wrap`` gave; other modules come back as they are."""


class DDP:
    """Every rank holds the whole model; gradients are averaged by all-reduce."""

    name = "ddp"

    def backend(self, device: torch.device) -> str:
        return "nccl" if device.type == "cuda" else "gloo"

    def wrap(self, model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        model = model.to(device)
        if not any(p.requires_grad for p in model.parameters()):
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        inner: torch.nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
        return inner


STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (DDP(),)}


def find(name: str) -> Strategy:
    """The strategy called ``name``.

    Raises:
        CannotTrain: there is none; the message lists those that exist.
    """
    if name not in STRATEGIES:
        raise CannotTrain(f"There is no strategy {name!r}. Use one of: {', '.join(sorted(STRATEGIES))}.")
    return STRATEGIES[name]
