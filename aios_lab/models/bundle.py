"""A model as a folder that can be trusted: weights, architecture, held-out data, and the digest of each file.

``save`` and ``load`` need torch; ``read`` does not, so that a server can register a folder without it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import manifest
from .errors import BadBundle
from .manifest import EVALUATION, FORMAT, RECIPE, WEIGHTS, new_folder, read_manifest, write_manifest
from .values import clean_metrics

if TYPE_CHECKING:
    from torch import nn

    from .evaluation import HeldOut


@dataclass(frozen=True, slots=True)
class Bundle:
    """A saved model.

    Attributes:
        digest: sha256 of the canonical manifest, hexadecimal.
        bytes: what the weights and the recipe take on disk; held-out data is not part of the model.
        parameters: number of elements of all parameters, shared ones once.
        metrics: the caller's, and the measured one on the held-out data where it gave none of that name.
        evaluable: it carries held-out data.
    """

    folder: Path
    digest: str
    name: str
    bytes: int
    parameters: int
    metrics: dict[str, float]
    evaluable: bool
    recipe: dict[str, Any] = field(repr=False)


def save(
    folder: str | os.PathLike[str],
    model: nn.Module,
    *,
    example: Any = None,
    evaluation: Any = None,
    metrics: Mapping[str, float] | None = None,
    name: str | None = None,
    transforms: list[dict[str, Any]] | None = None,
) -> Bundle:
    """Save a model so that any process loads it without its code; an older bundle in ``folder`` is replaced.

    Args:
        folder: where the bundle goes; it appears whole or not at all.
        model: any module; DDP and ``torch.compile`` wrappers are taken off, the model is left as it is.
        example: inputs for one forward (a tensor, an array, or a tuple of them). The stored model must give
            the same outputs for it; without it the held-out inputs serve, where given.
        evaluation: ``(inputs, targets)`` held out from training, at most 64 MiB. Whole-number targets are
            measured by accuracy, floats by mean squared error.
        metrics: numbers to keep with the model.
        name: what it is called; its class's name when left out.
        transforms: how it was made from its parent, oldest first.

    Raises:
        NotStorable: the architecture cannot be kept as data; the message names the layer or line.
        BadRequest: example, evaluation or metrics do not fit.
        ModelError: the folder cannot be written.
    """
    from . import storing

    given = clean_metrics(metrics)
    parts = storing.prepare(model, example, evaluation)
    recipe = {
        "format": FORMAT,
        "name": name or parts.name,
        "architecture": parts.architecture,
        "tensors": parts.about,
        "inputs": parts.inputs,
        "parameters": parts.parameters,
        "metrics": {**parts.measured, **given},
        "evaluation": parts.evaluation,
        "transforms": list(transforms or ()),
        "made_with": parts.made_with,
    }
    target = Path(folder).absolute()
    with new_folder(target) as temporary:
        (temporary / RECIPE).write_text(
            json.dumps(recipe, indent=1, sort_keys=True, allow_nan=False), "utf-8"
        )
        storing.write(temporary, parts)
        write_manifest(temporary)
    return read(target)


def read(folder: str | os.PathLike[str], *, check: bool = True, digest: str | None = None) -> Bundle:
    """What a bundle is, without loading the model.

    Args:
        check: compare every file with its digest.
        digest: what the bundle's own digest must be.

    Raises:
        BadBundle: it is incomplete or was altered.
    """
    folder = Path(folder)
    files, found = read_manifest(folder)
    if check or digest is not None:
        manifest.verify(folder, digest)
    try:
        recipe = json.loads((folder / RECIPE).read_bytes())
        return Bundle(
            folder=folder,
            digest=found,
            name=str(recipe["name"]),
            bytes=files[WEIGHTS]["bytes"] + files[RECIPE]["bytes"],
            parameters=int(recipe["parameters"]),
            metrics={str(key): float(value) for key, value in recipe["metrics"].items()},
            evaluable=EVALUATION in files,
            recipe=recipe,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadBundle(
            f"The recipe of the model in '{folder}' cannot be read.",
            "Load another version, or register it again.",
        ) from error


def load(folder: str | os.PathLike[str], verify: bool = True, *, digest: str | None = None) -> nn.Module:
    """The model on the CPU, in evaluation mode. Nothing is unpickled, and no code of the user's is run.

    Raises:
        BadBundle: the bundle is incomplete, was altered, or needs a class that is not installed.
    """
    from . import storing

    return storing.load(read(folder, check=verify, digest=digest))


def evaluation(folder: str | os.PathLike[str]) -> HeldOut | None:
    """The held-out data of a bundle, verified; None when it carries none."""
    from . import storing

    return storing.load_evaluation(read(folder))
