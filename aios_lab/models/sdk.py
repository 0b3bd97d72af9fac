"""What ``aios.models`` offers in a notebook."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aios_lab import wire

from . import places
from .compression import Settings, find
from .errors import ModelError
from .registry import Registry
from .view import Model, Models, ModelVersion, Versions, origin

if TYPE_CHECKING:
    from torch import nn


@runtime_checkable
class TrainedRun(Protocol):
    """A run of training, as ``aios.train`` returns it: its folder holds the model it saved."""

    id: str
    folder: Path


@cache
def _open(uri: str, root: str) -> Registry:
    return Registry(uri, root)


def registry() -> Registry:
    """The registry that ``AIOS_MLFLOW_URI`` names, else the one in the data folder (``AIOS_DATA``)."""
    return _open(places.tracking_uri(), str(places.artifact_root()))


def register(
    model: nn.Module | TrainedRun | str | os.PathLike[str],
    name: str,
    example: Any = None,
    metrics: Mapping[str, float] | None = None,
    evaluation: tuple[Any, Any] | None = None,
    *,
    run_id: str | None = None,
) -> ModelVersion:
    """Keep a model as a new version under ``name``; it loads in any notebook, without the code that made it.

    Args:
        model: a torch module, a run that saved one, or the folder of a saved one.
        example: inputs for one forward; the stored model must give the same outputs for it.
        metrics: numbers to show with it, such as ``{"accuracy": 0.98}``.
        evaluation: ``(inputs, targets)`` that training did not see, at most 64 MiB: compressed versions are
            measured on them.
        run_id: the run that trained it.

    Raises:
        ModelError: the message says what is wrong and what to do.
    """
    source: nn.Module | str | os.PathLike[str]
    if isinstance(model, TrainedRun):
        source, run_id = saved_by(model), model.id
    else:
        source = model
    made = registry().register(
        source, name, example=example, metrics=metrics, evaluation=evaluation, run_id=run_id, user=_user()
    )
    return ModelVersion(**made.model_dump(), origin=origin(made, {}))


def saved_by(run: TrainedRun) -> Path:
    """The folder of the model that a run saved.

    Raises:
        ModelError: it saved none.
    """
    folder = run.folder / "model"
    if not folder.is_dir():
        raise ModelError(
            404,
            f"Run {run.id} saved no model.",
            "no_model",
            "Return the model from the function, or call ctx.save_model(model) at its end, and train again.",
        )
    return folder


def compress(
    name: str,
    version: int | None = None,
    method: str = "low_rank",
    energy: float | None = None,
    ratio: float | None = None,
) -> ModelVersion:
    """Make a smaller version of a registered model; ``.report`` shows before, after, and each layer.

    Args:
        version: the newest when left out, which may be a compressed one itself.
        energy: share of each weight's squared singular values to keep, 0.9 when neither is given.
        ratio: or the share of each layer's weights to keep.

    Raises:
        NothingToShrink: no layer becomes smaller; nothing is registered.
        ModelError: the message says what is wrong and what to do.
    """
    settings = Settings.of(energy, ratio)
    find(method)
    request = wire.CompressRequest.model_validate({"method": method, **settings.as_recipe()})
    report = registry().compress(name, version, request, user=_user())
    known = {one.version: one for one in registry().versions(name)}
    made = report.version
    return ModelVersion(**made.model_dump(), origin=origin(made, known), report=report)


def load(name: str, version: int | None = None) -> nn.Module:
    """The model on the CPU, in evaluation mode; every file is compared with its recorded digest.

    Raises:
        ModelError: there is no such version, or its files were altered.
    """
    return registry().load(name, version)


def versions(name: str) -> Versions:
    """All versions of a model, newest first; a compressed one has its ``report`` where its files are here."""
    return _versions(registry().versions(name))


def list_models() -> Models:
    """All registered models; ``aios.models.list()``."""
    return Models(Model(name=model.name, versions=_versions(model.versions)) for model in registry().list())


def _versions(found: Sequence[wire.ModelVersion]) -> Versions:
    known = {one.version: one for one in found}
    return Versions(
        ModelVersion(**one.model_dump(), origin=origin(one, known), report=registry().report(one))
        for one in found
    )


def _user() -> str:
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
