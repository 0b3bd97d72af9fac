"""A run that another kernel began, followed by its record."""

from __future__ import annotations

import time
from pathlib import Path

from aios_lab.notebook.attach import Following
from aios_lab.notebook.server import Server
from aios_lab.training.kernel.live import LiveRun
from aios_lab.training.kernel.run import Run
from aios_lab.wire import Run as RunView
from aios_lab.wire import RunState


def test_the_end_of_a_run_is_heard_though_its_metrics_cannot_be_read(tmp_path: Path) -> None:
    now = time.time()
    view = RunView(
        id="r-0123456789",
        name="x",
        slice_id="s-1",
        user="ada",
        mine=True,
        state=RunState.FINISHED,
        strategy="ddp",
        world_size=1,
        created=now,
        ended=now,
    )
    (tmp_path / "metrics.jsonl").mkdir()
    run = Run(LiveRun(view), tmp_path, lambda: b"")
    Following(run, Server("http://127.0.0.1:9", "token", "s-1"), view).look()
    assert run.wait(5).state is RunState.FINISHED
