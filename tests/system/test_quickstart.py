"""The quickstart notebook through a real Jupyter server."""

from __future__ import annotations

from pathlib import Path

from live import serving, until
from notebooks import execute


def test_the_quickstart_runs_from_request_to_compressed_model(tmp_path: Path):
    with serving(tmp_path) as server:
        kernel, printed = execute(server, "quickstart.ipynb")
        everything = "\n".join(printed)
        assert "accuracy on unseen digits" in everything

        [run] = server.get("aios/api/runs")
        losses = [point["value"] for point in run["series"]["loss"]]
        assert (run["state"], run["world_size"]) == ("finished", 2)
        assert losses[-1] < losses[0] / 2
        assert run["mlflow_run_id"]

        [model] = server.get("aios/api/models")
        small, original = model["versions"]
        assert (small["parent"], small["method"]) == (1, "low_rank")
        assert small["bytes"] < original["bytes"]
        assert small["parameters"] < original["parameters"]
        assert original["metrics"]["accuracy"] > 0.95
        assert small["metrics"]["accuracy"] > 0.9

        until("the slice is given back", lambda: kernel.slice()["workers"] == 0)
