"""The torch side of a bundle: from a live model to files and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from . import architecture, tensors
from .bundle import Bundle
from .codec import Json
from .errors import BadBundle, NotStorable
from .evaluation import HeldOut, as_tensors, count_parameters, forward, held_out, measure
from .manifest import EVALUATION, WEIGHTS
from .tracing import unwrap

_PROBE = 8  # samples of held-out data that stand in for a missing example


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that goes into a bundle, checked and ready to write."""

    name: str
    architecture: dict[str, Json]
    stored: dict[str, torch.Tensor]
    about: dict[str, Json]
    inputs: list[dict[str, Json]] | None
    parameters: int
    held_out: HeldOut | None
    measured: dict[str, float]
    made_with: dict[str, str]

    @property
    def evaluation(self) -> dict[str, Json] | None:
        """What the recipe says about the held-out data."""
        if self.held_out is None:
            return None
        return {"metric": self.held_out.metric, "samples": len(self.held_out), "measured": self.measured}


def prepare(model: nn.Module, example: Any, evaluation: Any) -> Parts:
    """Write the model down, build it again from that, and prove that it is the same.

    Raises:
        NotStorable, BadRequest: see :func:`.bundle.save`.
    """
    if not isinstance(model, nn.Module):
        raise NotStorable(
            f"A {type(model).__name__} is no torch model.", "Give a torch.nn.Module.", "not_a_model"
        )
    model = unwrap(model)
    data = None if evaluation is None else held_out(evaluation)
    inputs = None if example is None else as_tensors(example, "example")
    if inputs is None and data is not None:
        inputs = tuple(item[:_PROBE] for item in data.inputs)
    described, owner = architecture.describe(model)
    stored, about = tensors.collect(owner)
    rebuilt = _assemble(described, stored, about)
    if inputs is not None:
        _prove_equal(model, rebuilt, inputs)
    return Parts(
        name=type(model).__name__,
        architecture=described,
        stored=stored,
        about=about,
        inputs=None if inputs is None else [_shape(item) for item in inputs],
        parameters=count_parameters(rebuilt),
        held_out=data,
        measured={} if data is None else measure(rebuilt, data),
        made_with={"torch": str(torch.__version__)},
    )


def _assemble(described: Json, stored: dict[str, torch.Tensor], about: Json) -> nn.Module:
    module = architecture.build(described)
    tensors.assign(module, stored, about)
    return module.eval()


def _shape(item: torch.Tensor) -> dict[str, Json]:
    return {"shape": list(item.shape), "dtype": str(item.dtype).removeprefix("torch.")}


def _prove_equal(model: nn.Module, rebuilt: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        expected = _run(model, tuple(item.to(device) for item in inputs))
    finally:
        for module, training in modes:
            module.training = training
    found = _run(rebuilt, inputs)
    if len(expected) != len(found) or not all(map(_close, expected, found)):
        raise NotStorable(
            "The stored model gives other outputs than the original for the example.",
            "Look for hooks, state kept in Python attributes, or random numbers in forward; "
            "or put the class into an installed module.",
            reason="not_equal",
        )


def _run(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _flatten(forward(model, inputs, "example"))


def _flatten(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output.detach().cpu()]
    if isinstance(output, dict):
        output = list(output.values())
    return (
        [tensor for item in output for tensor in _flatten(item)] if isinstance(output, list | tuple) else []
    )


def _close(expected: torch.Tensor, found: torch.Tensor) -> bool:
    if expected.shape != found.shape:
        return False
    low = expected.dtype in (torch.float16, torch.bfloat16)
    return torch.allclose(
        expected.double(),
        found.double(),
        rtol=0.05 if low else 1e-3,
        atol=0.05 if low else 1e-4,
        equal_nan=True,
    )


def write(folder: Path, parts: Parts) -> None:
    """Write the tensor files of a bundle."""
    save_file(parts.stored, folder / WEIGHTS)
    if parts.held_out is not None:
        inputs = {f"input.{index}": item.contiguous() for index, item in enumerate(parts.held_out.inputs)}
        save_file(
            {**_apart(inputs), "target": parts.held_out.target.clone().contiguous()}, folder / EVALUATION
        )


def _apart(items: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: item.clone() for name, item in items.items()}


def load(bundle: Bundle) -> nn.Module:
    """Build the model of a bundle that was verified already."""
    recipe = bundle.recipe
    if not isinstance(recipe.get("architecture"), dict):
        raise _unreadable(bundle.folder)
    return _assemble(recipe["architecture"], _read_tensors(bundle.folder / WEIGHTS), recipe.get("tensors"))


def load_evaluation(bundle: Bundle) -> HeldOut | None:
    """The held-out data of a bundle that was verified already."""
    if not bundle.evaluable:
        return None
    items = _read_tensors(bundle.folder / EVALUATION)
    try:
        target = items.pop("target")
        return HeldOut(tuple(items[f"input.{index}"] for index in range(len(items))), target)
    except KeyError as error:
        raise _unreadable(bundle.folder) from error


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path.parent) from error


def _unreadable(folder: Path) -> BadBundle:
    return BadBundle(f"The tensors of the model in '{folder}' cannot be read.", "Load another version.")
