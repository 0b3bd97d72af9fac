"""From one version of a registered model to a smaller one, measured before and after on the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aios_lab.wire import CompressReport, CompressRequest, Measure

from .. import bundle
from ..evaluation import HeldOut, count_parameters, measure
from .methods import Progress, Settings, find

if TYPE_CHECKING:
    from torch import nn

    from ..registry import Registry


def compress(
    registry: Registry,
    name: str,
    version: int | None,
    request: CompressRequest,
    user: str,
    progress: Progress | None = None,
) -> CompressReport:
    """Load, measure, compress, measure, register.

    Both models are loaded from bundles and measured on the version's held-out data; without such data the
    report has bytes and parameters only. The new version keeps the data, so it can be compressed and
    measured in its turn.

    Args:
        progress: called with a share from 0 to 1 and what is being done.

    Raises:
        BadRequest: the settings are out of range, or the method is unknown.
        NotFound, BadBundle: the version is not there or was altered.
        NothingToShrink: no layer becomes smaller; nothing is registered.
    """
    tell = progress or _silent
    settings = Settings.of(request.energy, request.ratio)
    method = find(request.method)
    tell(0.05, "loading the model")
    folder, parent = registry.folder(name, version)
    saved = bundle.read(folder, digest=parent.digest)
    model = bundle.load(folder, verify=False)
    data = bundle.evaluation(folder)
    tell(0.15, "measuring the model")
    before = _measure(model, data, parent.bytes)
    done = method(model, settings, lambda share, note: tell(0.2 + 0.6 * share, note))
    tell(0.85, "measuring and registering the new version")
    step = {"method": request.method, **settings.as_recipe(), "parent": parent.digest}
    kept = {"before": before.model_dump(), "layers": [layer.model_dump() for layer in done.layers]}
    made = registry.register(
        done.model,
        name,
        evaluation=None if data is None else (data.inputs, data.target),
        parent=parent.version,
        method=request.method,
        transforms=[*map(_settings, saved.recipe["transforms"]), step | kept],
        user=user,
    )
    after = Measure(bytes=made.bytes, parameters=made.parameters, metrics=made.metrics)
    return CompressReport(version=made, before=before, after=after, layers=done.layers)


def _settings(step: dict[str, Any]) -> dict[str, Any]:
    """A step without its report, which the version that it made keeps."""
    return {name: value for name, value in step.items() if name not in ("before", "layers")}


def _measure(model: nn.Module, data: HeldOut | None, size: int) -> Measure:
    metrics = {} if data is None else measure(model, data)
    return Measure(bytes=size, parameters=count_parameters(model), metrics=metrics)


def _silent(share: float, note: str) -> None: ...
