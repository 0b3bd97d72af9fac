"""The run store on real files and a real SQLite MLflow."""

from __future__ import annotations

import asyncio
import atexit
import base64
import http.server
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from aios_lab.training.record.files import RunFolder
from aios_lab.training.record.refused import RunRefused
from aios_lab.training.record.store import RunStore
from aios_lab.wire import RunMetric, RunRequest, RunState, RunUpdate

REQUEST = RunRequest(
    name="digits",
    strategy="ddp",
    world_size=2,
    total_steps=100,
    source="def train(ctx): ...",
    parameters={"lr": 0.1, "a,b": "odd key"},
)


@asynccontextmanager
async def opened(folder: Path, uri: str | None = None, goes_on: str = "") -> AsyncIterator[RunStore]:
    if uri is None and not (folder / "mlflow.db").exists():
        shutil.copy(fresh_database(), folder / "mlflow.db")
    store = RunStore(folder / "runs", uri or sqlite(folder), mlflow_interval=0.05)
    await store.start(lambda slice_id: slice_id == goes_on)
    try:
        yield store
    finally:
        await store.close(timeout=30)


@cache
def fresh_database() -> Path:
    """A new store of MLflow: it makes some fifty tables, which is too slow for every test."""
    folder = Path(tempfile.mkdtemp())
    MlflowClient(sqlite(folder)).search_experiments()
    atexit.register(shutil.rmtree, folder)
    return folder / "mlflow.db"


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def metrics(first: int, count: int, **values: float) -> list[RunMetric]:
    return [
        RunMetric(
            step=step, time=1000 + step / 10, values=values or {"loss": 1 / (step + 1)}, epoch=step // 10
        )
        for step in range(first, first + count)
    ]


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.02)


def state_on_disk(folder: Path, run_id: str) -> RunState:
    record = RunFolder(folder / "runs" / run_id).read()
    assert record is not None
    return record.run.state


def test_a_run_is_kept_estimated_and_tracked_in_mlflow(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with opened(tmp_path) as store:
            heard: list[tuple[str, bool]] = []
            store.subscribe(lambda run_id, changed: heard.append((run_id, changed)))
            run = await store.begin(REQUEST, "s-1", "ada")
            assert run.state is RunState.PENDING
            assert run.mine
            store.update(run.id, RunUpdate(state=RunState.RUNNING, started=1000.0))
            order = store.update(run.id, RunUpdate(metrics=metrics(0, 40), logs=["rank 0: hello"]))
            assert order.order == "go"
            seen = store.get(run.id)
            assert (seen.step, seen.epoch, seen.metrics["loss"]) == (39, 3, 1 / 40)
            assert seen.throughput == pytest.approx(10)
            assert seen.eta == pytest.approx(6.1)
            model = tmp_path / "runs" / run.id / "model"
            model.mkdir()
            (model / "recipe.json").write_text("{}")
            store.update(run.id, RunUpdate(model=str(model)))
            store.update(run.id, RunUpdate(state=RunState.FINISHED, ended=1010.0))
            ended = store.get(run.id)
            assert (ended.started, ended.ended, ended.eta) == (1000.0, 1010.0, None)
            assert store.model_folder(run.id) == model
            await until(lambda: store.get(run.id).mlflow_run_id)
            assert (run.id, True) in heard
            assert (run.id, False) in heard
            return run.id

    run_id = asyncio.run(scenario())
    client = MlflowClient(sqlite(tmp_path))
    (tracked,) = client.search_runs(["1"])
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == "digits"
    assert tracked.data.params["lr"] == "0.1"
    assert tracked.data.params["a_b"] == "odd key"
    assert tracked.data.params["world_size"] == "2"
    assert tracked.data.tags["aios.user"] == "ada"
    assert tracked.data.tags["aios.slice"] == "s-1"
    assert tracked.data.tags["aios.run"] == run_id
    assert "def train" in tracked.data.tags["aios.source"]
    history = client.get_metric_history(tracked.info.run_id, "loss")
    assert [(point.step, point.timestamp) for point in history] == [
        (s, 1_000_000 + 100 * s) for s in range(40)
    ]
    assert [item.path for item in client.list_artifacts(tracked.info.run_id, "model")] == [
        "model/recipe.json"
    ]


def test_runs_of_slices_that_go_on_go_on(tmp_path: Path) -> None:
    """Their kernels report to the next server; what a killed one had half written is not in their way."""

    async def scenario() -> None:
        dead = RunStore(tmp_path / "runs", sqlite(tmp_path))  # never closed: its server was killed
        await dead.start()
        goes_on, over = [await dead.begin(REQUEST, slice_id, "ada") for slice_id in ("s-1", "s-2")]
        for run in (goes_on, over):
            dead.update(run.id, RunUpdate(state=RunState.RUNNING, metrics=metrics(0, 10)))
        await until(lambda: len(RunFolder(tmp_path / "runs" / goes_on.id).metrics()[0]) == 10)
        with open(tmp_path / "runs" / goes_on.id / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 10, "ti')
        store = RunStore(tmp_path / "runs", sqlite(tmp_path))
        await store.start(lambda slice_id: slice_id == "s-1")
        assert store.get(over.id).state is RunState.FAILED
        assert store.get(goes_on.id).state is RunState.RUNNING
        assert store.update(goes_on.id, RunUpdate(metrics=metrics(10, 10))).order == "go"
        assert store.get(goes_on.id).step == 19
        await store.close(timeout=30, leave={"s-1"})
        assert state_on_disk(tmp_path, goes_on.id) is RunState.RUNNING
        assert len(RunFolder(tmp_path / "runs" / goes_on.id).metrics()[0]) == 20
        async with opened(tmp_path, goes_on="s-1") as store:
            store.end_of_slice("s-1", "The server that held it ended.")
            assert store.get(goes_on.id).state is RunState.FAILED

    asyncio.run(scenario())


def test_history_survives_a_restart_and_living_runs_become_failed(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead = RunStore(tmp_path / "runs", sqlite(tmp_path))  # never closed: its server was killed
        await dead.start()
        lost = await dead.begin(REQUEST, "s-1", "ada")
        dead.update(lost.id, RunUpdate(state=RunState.RUNNING, metrics=metrics(0, 1200)))
        done = await dead.begin(REQUEST, "s-1", "ada")
        dead.update(done.id, RunUpdate(state=RunState.STOPPED, metrics=metrics(0, 5), logs=["bye"]))
        await until(lambda: state_on_disk(tmp_path, done.id) is RunState.STOPPED)
        with open(tmp_path / "runs" / done.id / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 6, "ti')  # torn by the crash
        await until(lambda: len(RunFolder(tmp_path / "runs" / lost.id).metrics()[0]) == 1200)
        before = dead.get(lost.id).series["loss"]
        async with opened(tmp_path) as store:
            assert [run.id for run in store.list()] == [done.id, lost.id]
            failed = store.get(lost.id)
            assert failed.state is RunState.FAILED
            assert "restarted" in failed.error
            assert failed.series["loss"] == before
            assert failed.step == 1199
            assert len(before) <= 500
            assert (before[0].step, before[-1].step) == (0, 1199)
            stopped = store.get(done.id)
            assert stopped.state is RunState.STOPPED
            assert stopped.log_tail == ["bye"]
            assert stopped.step == 4
            assert store.update(lost.id, RunUpdate(state=RunState.RUNNING)).order == "kill"
            assert store.get(lost.id).state is RunState.FAILED
        await dead.close()

    asyncio.run(scenario())
    client = MlflowClient(sqlite(tmp_path))
    states = {run.data.tags["aios.run"]: run for run in client.search_runs(["1"])}
    assert sorted(run.info.status for run in states.values()) == ["FAILED", "KILLED"]
    assert max(len(client.get_metric_history(run.info.run_id, "loss")) for run in states.values()) == 1200


def test_stop_then_kill_reach_the_kernel_as_orders(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            store.update(run.id, RunUpdate(state=RunState.RUNNING))
            assert store.stop(run.id).state is RunState.STOPPING
            assert store.update(run.id, RunUpdate(state=RunState.RUNNING)).order == "stop"
            assert store.get(run.id).state is RunState.STOPPING
            store.stop(run.id, kill=True)
            assert store.stop(run.id).state is RunState.STOPPING
            assert store.update(run.id, RunUpdate()).order == "kill"
            store.update(run.id, RunUpdate(state=RunState.STOPPED))
            ended = store.get(run.id).ended
            assert store.stop(run.id).ended == ended
            assert store.get(run.id).state is RunState.STOPPED

            other = await store.begin(REQUEST, "s-2", "ada")
            store.end_of_slice("s-2", "The slice was given back.")
            assert store.get(other.id).error == "The slice was given back."
            assert store.get(run.id).state is RunState.STOPPED

    asyncio.run(scenario())


def test_others_see_that_a_run_is_there_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            store.update(run.id, RunUpdate(metrics=metrics(0, 3), logs=["secret"], error="secret"))
            assert store.list("bob") == []
            seen = store.get(run.id, "bob")
            assert (seen.mine, seen.name, seen.series, seen.log_tail, seen.error) == (False, "", {}, [], "")
            assert (seen.user, seen.world_size) == ("ada", 2)
            (own,) = store.list("ada")
            assert own.mine
            assert own.log_tail == ["secret"]

    asyncio.run(scenario())


def test_a_loss_that_diverges_is_logged_and_never_sent_as_json(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            news = RunUpdate(metrics=[*metrics(0, 2), *metrics(2, 1, loss=math.nan)])
            store.update(run.id, RunUpdate.model_validate_json(news.model_dump_json()))
            seen = store.get(run.id)
            assert seen.metrics == {}
            assert len(seen.series["loss"]) == 2
            assert seen.log_tail == ["step 2: loss is nan"]
            assert "null" not in seen.model_dump_json(include={"series", "metrics"})
            return run.id

    run_id = asyncio.run(scenario())
    reread, _ = RunFolder(tmp_path / "runs" / run_id).metrics()
    assert math.isnan(reread[-1].values["loss"])


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db"])
def test_an_mlflow_that_does_not_answer_refuses_runs_at_once(tmp_path: Path, uri: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, uri) as store:
            with pytest.raises(RunRefused) as caught:
                await asyncio.wait_for(store.begin(REQUEST, "s-1", "ada"), 10)
            assert (caught.value.status, caught.value.reason) == (409, "mlflow_unreachable")
            assert uri in caught.value.message
            assert "AIOSLab.mlflow_uri" in caught.value.hint
            assert store.list() == []
            await until(lambda: store.problem)

    asyncio.run(scenario())


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be looked at as one" * 20)

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            with pytest.raises(RunRefused, match="not a database"):
                await store.begin(REQUEST, "s-1", "ada")

    asyncio.run(scenario())


def test_what_is_reported_while_mlflow_is_away_arrives_when_it_is_back(tmp_path: Path) -> None:
    database, aside = tmp_path / "mlflow.db", tmp_path / "aside"

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            await until(lambda: store.get(run.id).mlflow_run_id)
            database.rename(aside)
            database.mkdir()  # no database can be opened here
            store.update(run.id, RunUpdate(state=RunState.RUNNING, metrics=metrics(0, 7)))
            await until(lambda: store.problem)
            with pytest.raises(RunRefused):
                await store.begin(REQUEST, "s-1", "ada")
            store.update(run.id, RunUpdate(state=RunState.FINISHED, metrics=metrics(7, 3)))
            database.rmdir()
            aside.rename(database)
            again = await store.begin(REQUEST, "s-1", "ada")
            assert not store.problem
            store.update(again.id, RunUpdate(state=RunState.FINISHED))

    asyncio.run(scenario())
    client = MlflowClient(sqlite(tmp_path))
    runs = client.search_runs(["1"])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert max(len(client.get_metric_history(run.info.run_id, "loss")) for run in runs) == 10


def test_an_mlflow_server_in_trouble_is_refused_and_an_odd_path_is_not(tmp_path: Path) -> None:
    answers = {"code": 503}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers["code"])
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        async def scenario() -> None:
            store = RunStore(tmp_path / "runs", f"http://127.0.0.1:{server.server_port}")
            with pytest.raises(RunRefused, match="503"):
                await store.begin(REQUEST, "s-1", "ada")
            answers["code"] = 404
            assert (await store.begin(REQUEST, "s-1", "ada")).state is RunState.PENDING

        asyncio.run(scenario())
        server.shutdown()


def test_the_password_of_an_mlflow_server_opens_it_and_is_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    came: dict[str, str | None] = {}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came[self.path.partition("?")[0]] = self.headers["Authorization"]
            self.send_response(200 if self.path == "/health" else 403)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"

        async def scenario() -> list[str]:
            async with opened(tmp_path, f"http://ada:secr%40t@{place}") as store:
                await until(lambda: store.problem)
                server.shutdown()
                server.server_close()
                with pytest.raises(RunRefused) as caught:
                    await store.begin(REQUEST, "s-1", "ada")
                assert store.problem
                return [caught.value.message, store.problem.message]

        said = asyncio.run(scenario())
    credentials = base64.b64encode(b"ada:secr@t").decode()
    assert set(came.values()) == {f"Basic {credentials}"}
    assert len(came) > 1, "only the probe came through"
    assert all(f"http://ada:…@{place}" in text for text in said)
    assert "secr" not in " ".join([*said, caplog.text])


def test_a_model_folder_outside_the_run_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            (tmp_path / "runs" / run.id / "link").symlink_to("/etc")
            for folder in ("/etc", f"{tmp_path}/runs/{run.id}/link", f"{tmp_path}/runs/{run.id}/none"):
                with pytest.raises(RunRefused) as caught:
                    store.update(run.id, RunUpdate(model=folder))
                assert caught.value.reason == "bad_model_folder"
            with pytest.raises(RunRefused, match="saved no model"):
                store.model_folder(run.id)
            with pytest.raises(RunRefused) as caught:
                store.get("r-none")
            assert caught.value.status == 404

    asyncio.run(scenario())


def test_a_runs_folder_that_takes_nothing_refuses_the_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            os.rename(tmp_path / "runs", tmp_path / "moved")
            (tmp_path / "runs").write_text("a file is in the way")
            with pytest.raises(RunRefused) as caught:
                await store.begin(REQUEST, "s-1", "ada")
            assert caught.value.reason == "runs_folder"
            assert store.list() == []

    asyncio.run(scenario())
