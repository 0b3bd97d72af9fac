"""Between the record of runs and their leaders, which speak from the schedulers of slices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from aios_lab.training.record.refused import RunRefused
from aios_lab.training.record.store import RunStore
from aios_lab.training.untold import Message
from aios_lab.wire import Run

log = logging.getLogger("aios_lab.training")

Answer = Callable[[Mapping[str, Any]], None]


class StoreLine:
    """Hears leaders, and hands on what users want of runs. ``tell`` reaches the leader on a slice.

    What comes from a slice may be anything: only what concerns its own runs counts.
    """

    def __init__(self, store: RunStore, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._store = store
        self._tell = tell
        store.on_order(self._ordered)

    def told(self, slice_id: str, said: Mapping[str, Any], answer: Answer) -> None:
        """Something on the slice says this; it is answered when it is on the disk."""
        try:
            run_id = str(said["run"])
            if self._store.brief(run_id).slice_id != slice_id:
                raise KeyError(run_id)
            message = Message.model_validate({name: said[name] for name in Message.model_fields})
        except (RunRefused, KeyError, TypeError):
            answer({"order": "kill"})
            return
        except ValidationError as error:
            log.warning("slice %s says of run %s what cannot be understood: %s", slice_id, run_id, error)
            answer({})
            return
        try:
            self._store.take(run_id, message, lambda: answer({"order": self._store.order(run_id)}))
        except Exception:  # whatever a slice says must not be said for ever
            log.exception("slice %s says of run %s what cannot be recorded", slice_id, run_id)
            answer({})

    def _ordered(self, run: Run, order: str) -> None:
        self._tell(run.slice_id, {"run": run.id, "order": order})
