"""The examples of docs/scheduling.md run, and say what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "scheduling.md"


def test_the_examples_run() -> None:
    blocks = re.findall(r"<!-- (?:example|forecast) -->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(blocks) == 2
    made: dict[str, Any] = {}
    for block in blocks:
        exec(block, made)
    assert made["plan"].reasons["s-2"].endswith("ada's train.ipynb gives back 1 worker.")
    told = made["told"]
    assert told.state == "expected"
    assert 0 < told.low <= told.median <= told.high
