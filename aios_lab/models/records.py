"""What we know of a version, as tags of an MLflow model version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aios_lab.wire import ModelVersion

from .bundle import Bundle

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as Entity

DIGEST = "aios.digest"
METRIC = "aios.metric."


def tags_of(
    made: Bundle,
    metrics: dict[str, float],
    parent: int | None,
    run_id: str | None,
    method: str | None,
    user: str,
) -> dict[str, str]:
    about = {
        "digest": made.digest,
        "bytes": str(made.bytes),
        "parameters": str(made.parameters),
        "evaluable": "true" if made.evaluable else "false",
        "created": repr(time.time()),
        "user": user,
        "parent": None if parent is None else str(parent),
        "run_id": run_id,
        "method": method,
    }
    tags = {f"aios.{key}": value for key, value in about.items() if value}
    return tags | {METRIC + key: repr(value) for key, value in metrics.items()}


def view_of(entity: Entity) -> ModelVersion:
    """A version as read back from MLflow."""
    tags = entity.tags
    parent = tags.get("aios.parent")
    return ModelVersion(
        name=entity.name,
        version=int(entity.version),
        digest=tags[DIGEST],
        parent=None if parent is None else int(parent),
        run_id=tags.get("aios.run_id"),
        user=tags.get("aios.user", ""),
        created=float(tags.get("aios.created") or entity.creation_timestamp / 1000),
        bytes=int(tags["aios.bytes"]),
        parameters=int(tags["aios.parameters"]),
        metrics={key.removeprefix(METRIC): float(tags[key]) for key in tags if key.startswith(METRIC)},
        method=tags.get("aios.method"),
        evaluable=tags.get("aios.evaluable") == "true",
    )
