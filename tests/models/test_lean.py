"""MLflow in a server: it tracks runs and keeps models, and pandas is not loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, threading
from aios_lab.models.lean import without_pandas
from aios_lab.models.registry import Registry

uri, artifacts = sys.argv[1:]
with without_pandas():
    Registry(uri, artifacts).warm()
    assert "mlflow" in sys.modules and "pandas" not in sys.modules

    from mlflow import MlflowClient
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("one", artifact_location=artifacts)).info.run_id
    client.log_metric(run, "loss", 0.5)
    client.log_text(run, "hello", "note.txt")
    client.set_terminated(run)
    assert client.get_run(run).data.metrics == {"loss": 0.5}
    client.create_registered_model("two")
    client.create_model_version("two", artifacts, run)
    assert [one.version for one in client.search_model_versions("name='two'")] in ([1], ["1"])
    assert "pandas" not in sys.modules

    def other():
        import pandas
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "pandas" in sys.modules, "others find it"
    del sys.modules["pandas"]
import pandas
print("done")
"""


def test_runs_and_models_need_no_pandas_and_others_still_find_it(tmp_path: Path):
    command = [sys.executable, "-c", SCRIPT, f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr[-2000:]
