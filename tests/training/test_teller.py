"""What a leader tells reaches the record over the slice's line, less what that does not take."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aios_lab.engines.local.uplink import Uplink
from aios_lab.training.leader.teller import Teller
from aios_lab.wire import RunMetric, RunState


async def test_what_is_too_long_for_the_record_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    kernel: list[Any] = []

    def engine(line: bytes) -> None:
        said = json.loads(line)
        told.append(said["told"]["update"])
        uplink.answered(said["number"], {"order": "go"})

    uplink = Uplink(engine, lambda _: None)
    teller = Teller("r-1", tmp_path, kernel.append, uplink, lambda _: None)
    teller.tell(metrics=[RunMetric(step=1, time=1.0, values={"x" * 5_000_000: 1.0})], state=RunState.RUNNING)
    teller.tell(note="y" * 5_000_000, total_steps=7)
    while not told:
        await asyncio.sleep(0.05)
    teller.tell(state=RunState.FINISHED)
    await teller.finish([])
    assert [update.get("state") for update in told if "state" in update] == ["running", "finished"]
    assert [update["total_steps"] for update in told if "total_steps" in update] == [7]
    (line,) = [line for update in told for line in update.get("logs", ())]
    assert "is not in its record" in line
    assert [message["number"] for message in kernel] == [1, 2, 3, 4]
    assert "over" in kernel[-1]
