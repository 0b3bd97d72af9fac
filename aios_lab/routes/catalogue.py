"""The list of models, read once for all clients and again when a model changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aios_lab.wire import Model

if TYPE_CHECKING:
    from aios_lab.models.registry import Registry

FRESH = 1.0  # seconds for which the list of a store that cannot tell of changes counts as new


class Catalogue:
    """``list`` blocks: it belongs in a thread, and always in the same one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._models: list[Model] = []
        self._read: object = None

    def list(self) -> list[Model]:
        """All models. Raises ModelError like ``Registry.list``."""
        now = self._now()  # before the list: what changes meanwhile is read the next time
        if now is None or now != self._read:
            self._models = self._registry.list()
            self._read = now
        return self._models

    def changed(self) -> None:
        """This server changed a model itself."""
        self._read = None

    def _now(self) -> object:
        if self._registry.store.exact:
            return self._registry.stamp()
        return int(time.monotonic() / FRESH)
