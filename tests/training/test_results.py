"""What rank 0 returned, where only its worker has it."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, train
from aios_lab.training.kernel import launch
from aios_lab.training.spec import RESULT
from training import functions
from training.helpers import ranks_left
from training.test_failures import changing


def test_a_result_comes_from_the_worker_that_had_rank_0_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "RESULT", "not seen by this kernel")  # whose workers have another disk
    seen = tmp_path / "seen"
    seen.mkdir()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        options: dict[str, Any] = {"seen": str(seen), "pause": 0.4, "checkpoint_every": 4}
        run = train(functions.counted, client=client, tracker=LocalTracker(tmp_path / "runs"), **options)
        changing(run, lambda: bool(run.view().checkpoints))
        first = run.view().ranks[0].worker
        os.kill(client.run(os.getpid, workers=[first])[first], signal.SIGKILL)
        changing(run, lambda: bool(run.view().resizes))
        (tmp_path / "fast").touch()
        result = run.result(300)
        assert run.view().ranks[0].worker != first
    assert result == pickle.loads((run.folder / RESULT).read_bytes())
    assert ranks_left() == []
