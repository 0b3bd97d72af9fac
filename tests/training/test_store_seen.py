"""What a run tells beside its metrics: in the store, in MLflow, and after a restart of the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mlflow.entities import Run as Tracked
from mlflow.tracking import MlflowClient

from aios_lab.training.record.store import RunStore
from aios_lab.wire import (
    Checkpoint,
    Lost,
    Rank,
    RankUsage,
    Resize,
    RunData,
    RunRequest,
    RunState,
    RunUpdate,
)
from training.test_store import metrics, opened, sqlite, until

REQUEST = RunRequest(
    name="digits",
    strategy="fsdp",
    world_size=2,
    source="def train(ctx): ...",
    parameters={"lr": 0.1},
    options={"precision": "bf16", "accumulate": 2},
)
SHRUNK = Resize(time=1004.0, step=20, before=2, after=1, why="The slice shrank.", seconds=0.5)
GREW = Resize(time=1006.0, step=30, before=1, after=2, why="The slice grew.", seconds=0.25)
DIGEST = "sha256:" + "0123456789abcdef" * 4


def rank(number: int, state: str = "running") -> Rank:
    return Rank(
        rank=number, host="10.0.0.1", worker=f"tls://10.0.0.1:{number}", state=state, pid=100 + number
    )


def usage(number: int, when: float, joules: float | None = None) -> RankUsage:
    return RankUsage(
        rank=number, time=when, cpu=95.0, memory=500_000_000, gpu=None, gpu_memory=None, joules=joules
    )


async def eventful(store: RunStore, folder: Path) -> str:
    """A run that was resized twice and resumed nothing; its id."""
    run = await store.begin(REQUEST, "s-1", "ada")
    begun = run.created
    store.update(run.id, RunUpdate(state=RunState.RUNNING, ranks=[rank(0), rank(1)], resumable=True))
    store.update(run.id, RunUpdate(metrics=metrics(0, 20), data=[
        RunData(name="digits", digest=DIGEST, source="/data/digits.parquet", rows=1797)]))  # fmt: skip
    store.update(run.id, RunUpdate(usage=[usage(0, begun + 5, 40.0), usage(1, begun + 5)]))
    store.update(run.id, RunUpdate(state=RunState.RESIZING, note="Waiting for all ranks to pause."))
    store.update(
        run.id,
        RunUpdate(
            state=RunState.RUNNING,
            note="",
            attempt=1,
            world_size=1,
            ranks=[rank(0)],
            resizes=[SHRUNK],
            checkpoints=[Checkpoint(step=20, time=1003.9, bytes=1000)],
            lost=Lost(steps=0, seconds=0.5),
        ),
    )
    store.update(run.id, RunUpdate(usage=[usage(0, begun + 10, 60.0)], metrics=metrics(20, 10)))
    store.update(run.id, RunUpdate(attempt=2, world_size=2, resizes=[GREW], lost=Lost(steps=3, seconds=0.75)))
    (folder / "runs" / run.id / "rank0.log").write_text("hello from rank 0\n")
    return run.id


def tracked(folder: Path) -> tuple[MlflowClient, Tracked]:
    client = MlflowClient(sqlite(folder))
    (run,) = client.search_runs(["1"])
    return client, run


def test_a_run_tells_of_its_ranks_resizes_checkpoints_and_use(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run_id = await eventful(store, tmp_path)
            seen = store.get(run_id)
            assert (seen.state, seen.attempt, seen.world_size, seen.note) == (RunState.RUNNING, 2, 2, "")
            assert seen.options == {"precision": "bf16", "accumulate": 2}
            assert seen.resizes == [SHRUNK, GREW]
            assert [one.step for one in seen.checkpoints] == [20]
            assert (seen.lost.steps, seen.lost.seconds) == (3, 0.75)
            assert [one.rank for one in seen.usage] == [0], "the second rank's use ended with the rank"
            assert seen.joules == 100.0
            assert seen.resumable
            assert store.list()[0].ranks == [rank(0)]

    asyncio.run(scenario())


def test_what_happened_to_a_run_outlives_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run_id = await eventful(store, tmp_path)
            store.update(run_id, RunUpdate(state=RunState.FINISHED))
            before = store.get(run_id)
        async with opened(tmp_path) as store:
            after = store.get(run_id)
            assert after.resizes == [SHRUNK, GREW]
            assert after.checkpoints == before.checkpoints
            assert after.lost == before.lost
            assert after.joules == before.joules

    asyncio.run(scenario())


def test_mlflow_has_ranks_use_resizes_data_logs_and_costs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run_id = await eventful(store, tmp_path)
            await until(lambda: store.get(run_id).mlflow_run_id)
            store.update(run_id, RunUpdate(state=RunState.FINISHED))

    asyncio.run(scenario())
    client, run = tracked(tmp_path)
    mlflow_id = run.info.run_id
    assert run.data.params["precision"] == "bf16"
    assert run.data.params["lr"] == "0.1"

    def values(name: str) -> list[float]:
        return [point.value for point in client.get_metric_history(mlflow_id, name)]

    assert values("system/rank_0/cpu_utilization_percentage") == [95.0, 95.0]
    assert values("system/rank_1/memory_usage_megabytes") == [500.0]
    assert values("system/energy_joules") == [40.0, 100.0]
    steps = client.get_metric_history(mlflow_id, "system/rank_0/cpu_utilization_percentage")
    assert [point.step for point in steps] == [5, 10], "seconds since the run was begun"
    ranks = client.get_metric_history(mlflow_id, "ranks")
    assert sorted((point.step, point.value) for point in ranks) == [(0, 2.0), (20, 1.0), (30, 2.0)]
    assert (values("resizes"), values("steps_redone"), values("seconds_paused")) == ([2.0], [3.0], [0.75])

    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "digits"
    assert DIGEST.removeprefix("sha256:").startswith(given.dataset.digest)
    assert json.loads(given.dataset.profile) == {"digest": DIGEST, "num_rows": 1797}

    files = {item.path for item in client.list_artifacts(mlflow_id)}
    assert {"source.py", "slice_history.json", "logs"} <= files
    log = client.download_artifacts(mlflow_id, "logs/rank0.log", str(tmp_path))
    assert Path(log).read_text() == "hello from rank 0\n"
    history = json.loads(
        Path(client.download_artifacts(mlflow_id, "slice_history.json", str(tmp_path))).read_text()
    )
    assert [one["why"] for one in history["resizes"]] == ["The slice shrank.", "The slice grew."]
    assert history["attempts"] == 3


def test_what_is_not_measured_is_not_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            store.update(run.id, RunUpdate(state=RunState.RUNNING, usage=[usage(0, run.created + 1)]))
            assert store.get(run.id).joules is None
            store.update(run.id, RunUpdate(state=RunState.FINISHED))

    asyncio.run(scenario())
    _, run = tracked(tmp_path)
    odd = [name for name in run.data.metrics if "gpu" in name or "joules" in name or "resizes" in name]
    assert odd == []
    assert run.data.metrics["system/rank_0/memory_usage_megabytes"] == pytest.approx(500)
    assert run.inputs.dataset_inputs == []


def test_mlflow_goes_on_where_it_was_under_the_next_server(tmp_path: Path) -> None:
    """Nothing is written twice, and energy goes on to add up."""
    later = Resize(time=1008.0, step=40, before=2, after=1, why="The slice shrank.", seconds=0.1)

    async def scenario() -> None:
        first = RunStore(tmp_path / "runs", sqlite(tmp_path), mlflow_interval=0.05)
        await first.start()
        run_id = await eventful(first, tmp_path)
        await first.close(timeout=60, leave=["s-1"])
        async with opened(tmp_path, goes_on="s-1") as store:
            begun = store.get(run_id).created
            store.update(run_id, RunUpdate(resizes=[later], usage=[usage(0, begun + 15, 5.0)]))
            store.update(run_id, RunUpdate(state=RunState.FINISHED))

    asyncio.run(scenario())
    client, run = tracked(tmp_path)

    def values(name: str) -> list[float]:
        return [point.value for point in client.get_metric_history(run.info.run_id, name)]

    assert sorted(values("ranks")) == [1.0, 1.0, 2.0, 2.0]
    assert values("system/energy_joules") == [40.0, 100.0, 105.0]
    assert len(run.inputs.dataset_inputs) == 1
