"""Measuring a model on data kept aside: accuracy for classes, mean squared error for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from .errors import BadRequest

Metric = Literal["accuracy", "mse"]
LIMIT = 64 << 20  # bytes of held-out data in one bundle
_BATCH = 256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Inputs and targets that training did not see; all have the same first dimension, the samples."""

    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor

    @property
    def metric(self) -> Metric:
        """``accuracy`` when the targets are whole numbers, else ``mse``."""
        return "mse" if self.target.is_floating_point() else "accuracy"

    def __len__(self) -> int:
        return len(self.target)


def as_tensors(value: Any, what: str) -> tuple[torch.Tensor, ...]:
    """One tensor or array, or a tuple or list of them, as CPU tensors.

    Raises:
        BadRequest: it is something else.
    """
    items: Sequence[Any] = value if isinstance(value, tuple | list) else (value,)
    try:
        return tuple(torch.as_tensor(item).detach().cpu() for item in items)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadRequest(
            f"The {what} of type {type(value).__name__} cannot be used: {error}.",
            "Give a tensor, a NumPy array, or a tuple of them for a model with several inputs.",
        ) from error


def held_out(evaluation: Any, limit: int = LIMIT) -> HeldOut:
    """Check ``evaluation=(inputs, targets)`` and make tensors of it.

    Raises:
        BadRequest: it is no such pair, its lengths differ, it is empty, or it is larger than ``limit`` bytes.
    """
    if not isinstance(evaluation, tuple | list) or len(evaluation) != 2:
        raise BadRequest("The evaluation data must be a pair.", "Give evaluation=(inputs, targets).")
    inputs = as_tensors(evaluation[0], "evaluation inputs")
    target = as_tensors((evaluation[1],), "evaluation targets")[0]
    lengths = {item.shape[0] if item.ndim else 0 for item in (*inputs, target)}
    if len(lengths) != 1 or lengths == {0}:
        raise BadRequest(
            "The evaluation inputs and targets must have the same number of samples, at least one; "
            f"they have {', '.join(map(str, sorted(lengths)))}.",
            "Give evaluation=(inputs, targets) whose first dimensions are equal.",
        )
    size = sum(item.numel() * item.element_size() for item in (*inputs, target))
    if size > limit:
        raise BadRequest(
            f"The evaluation data is {size / 1e6:.1f} MB; a model keeps at most {limit / 1e6:.0f} MB.",
            f"Give about {max(1, len(target) * limit // size)} of its {len(target)} samples.",
            reason="too_large",
        )
    return HeldOut(inputs, target)


def measure(model: nn.Module, data: HeldOut, batch: int = _BATCH) -> dict[str, float]:
    """Run the model over the held-out data in evaluation mode; the model's mode is put back afterwards.

    Accuracy is the share of targets equal to the argmax over the class dimension: the last one for outputs
    shaped ``(*target.shape, classes)``, the second for ``(samples, classes, …)`` as ``cross_entropy`` takes
    them. The mean squared error is over all elements.

    Returns:
        ``{"accuracy": 0 … 1}`` or ``{"mse": …}``.

    Raises:
        BadRequest: the model does not take the inputs, or its output does not fit the targets.
    """
    was_training = model.training
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    model.eval()
    total, count = 0.0, 0
    try:
        for start in range(0, len(data), batch):
            inputs = (item[start : start + batch].to(device) for item in data.inputs)
            target = data.target[start : start + batch].to(device)
            output = forward(model, tuple(inputs), "evaluation inputs")
            total += _score(output, target, data.metric)
            count += target.numel()
    finally:
        model.train(was_training)
    return {data.metric: total / count}


def forward(model: nn.Module, inputs: tuple[torch.Tensor, ...], what: str) -> Any:
    """One forward pass without gradients.

    Raises:
        BadRequest: the model raised; the message carries what it said.
    """
    try:
        with torch.no_grad():
            return model(*inputs)
    except Exception as error:  # forward is the user's code and may raise anything
        shapes = ", ".join(str(tuple(item.shape)) for item in inputs)
        raise BadRequest(
            f"The model does not take the {what} of shape {shapes}: {str(error).strip().splitlines()[0]}.",
            "Give inputs just as forward takes them: the same shapes and types.",
            reason="wrong_shape",
        ) from error


def _score(output: Any, target: torch.Tensor, metric: Metric) -> float:
    if isinstance(output, torch.Tensor):
        if metric == "mse" and output.numel() == target.numel():
            return float((output.reshape(target.shape).double() - target.double()).square().sum())
        if metric == "accuracy":
            classes = _class_dimension(output, target)
            if classes is not None:
                return float((output.argmax(classes) == target).sum())
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    wanted = "one score a class" if metric == "accuracy" else "as many numbers"
    raise BadRequest(
        f"The output of shape {shape} does not fit targets of shape {tuple(target.shape)}: "
        f"{metric} needs {wanted}.",
        "Give whole-number targets to a model that scores classes, floats to one that predicts numbers.",
        reason="wrong_shape",
    )


def _class_dimension(output: torch.Tensor, target: torch.Tensor) -> int | None:
    if output.shape[:-1] == target.shape and output.shape[-1] > 1:
        return -1
    if output.ndim > 1 and output.shape[:1] + output.shape[2:] == target.shape and output.shape[1] > 1:
        return 1
    return None


def count_parameters(model: nn.Module) -> int:
    """The number of elements of all parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
