"""Tells what happens in a run: at once to the kernel that began it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.training.news import update_of

log = logging.getLogger("aios_lab.training")

Say = Callable[[Mapping[str, Any]], None]  # one message to the kernel


class Teller:
    """``say`` reaches the kernel, where one listens."""

    def __init__(self, run_id: str, say: Say) -> None:
        self._run_id = run_id
        self._say = say

    def tell(self, **news: Any) -> None:
        """Fields of ``wire.RunUpdate``; None leaves one as it is."""
        news = {name: value for name, value in news.items() if value is not None}
        update = update_of(news).model_dump(mode="json", exclude_unset=True)
        self._say({"run": self._run_id, "update": update})

    async def finish(self, ends: list[dict[str, Any]]) -> None:
        """Everything is told; ``ends`` is how the ranks ended."""
        self._say({"run": self._run_id, "over": ends})
