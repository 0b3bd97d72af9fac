"""What ranks use is measured where they run, and seen by the cell, the panel and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from live import serving, until

WAITS = """
import os, time
import aios_lab as aios

def waits(ctx, until):
    while not os.path.exists(until):
        ctx.report(loss=1.0)
        time.sleep(0.05)

aios.request(workers=2, memory='500MB', cpus=1)
run = aios.train(waits, workers=2, wait=False, until={go!r})
"""


def test_what_each_rank_uses_reaches_cell_panel_and_mlflow(tmp_path: Path) -> None:
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as server:
        kernel = server.kernel()
        kernel.run(WAITS.format(go=str(server.work / "go")))
        run_id = kernel.run("print(run.id)").strip()

        def measured() -> dict[int, dict[str, Any]]:
            run = server.get(f"aios/api/runs/{run_id}")
            assert run["ended"] is None, run["error"]
            return {one["rank"]: one for one in run["usage"]}

        until("both ranks are measured", lambda: len(measured()) == 2, 60)
        used = measured()
        assert {rank: one["memory"] > 50e6 for rank, one in used.items()} == {0: True, 1: True}
        assert kernel.run("print([one.rank for one in run.view().usage])").strip() == "[0, 1]"
        (server.work / "go").touch()
        kernel.run("run.wait(60)")
        client = MlflowClient(f"sqlite:///{server.data_dir / 'mlflow.db'}")
        tracked = server.get(f"aios/api/runs/{run_id}")["mlflow_run_id"]
        until("MLflow has its end", lambda: client.get_run(tracked).info.status == "FINISHED", 60)
        metrics = client.get_run(tracked).data.metrics
        for rank in (0, 1):
            assert metrics[f"system/rank_{rank}/cpu_utilization_percentage"] >= 0
            assert metrics[f"system/rank_{rank}/memory_usage_megabytes"] > 50
