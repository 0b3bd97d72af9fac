"""A compression as a process of its own: the server never loads a model or computes with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aios_lab.engines.telling import Tell, telling
from aios_lab.wire import CompressRequest, Problem

from .errors import ModelError


def compress_job(payload: bytes, fds: Mapping[str, int]) -> int:
    """Compress one version and tell how it goes; the target of a spawned process.

    Args:
        payload: JSON with tracking_uri, artifact_root, name, version, method, energy, ratio and user.
        fds: ``"out"``, or else standard output, takes JSON lines: ``{"progress": 0 … 1, "note": …}``, then
            one ``{"report": CompressReport}`` or ``{"problem": Problem}``.

    Returns:
        The exit code: 0 with a report, 1 with a problem.
    """
    with telling(fds) as tell:
        try:
            tell(report=_compress(json.loads(payload), tell))
            return 0
        except ModelError as error:
            tell(problem=error.problem().model_dump())
        except MemoryError:
            tell(problem=_out_of_memory().model_dump())
        return 1


def _compress(order: dict[str, Any], tell: Tell) -> dict[str, Any]:
    from .registry import Registry

    registry = Registry(order["tracking_uri"], order["artifact_root"])
    tell(progress=0.02, note="opening the registry")
    report = registry.compress(
        order["name"],
        order["version"],
        CompressRequest(method=order["method"], energy=order["energy"], ratio=order["ratio"]),
        user=order["user"],
        progress=lambda share, note: tell(progress=share, note=note),
    )
    return report.model_dump(mode="json")


def _out_of_memory() -> Problem:
    return Problem(
        message="The memory was not enough to compress this model.",
        reason="out_of_memory",
        hint="Free some memory on the server's machine and try again.",
    )
