"""What keeps the run store small, quick and honest: silence, long histories, many users, slow disks."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from aios_lab.training import whole
from aios_lab.training.record import entry as store_entry
from aios_lab.training.record.files import METRICS, RunFolder
from aios_lab.training.record.shelf import KEPT, LISTED
from aios_lab.training.record.store import RunStore
from aios_lab.training.record.writer import FolderWriter
from aios_lab.wire import Run, RunMetric, RunRequest, RunState, RunUpdate

REQUEST = RunRequest(name="digits", strategy="ddp", world_size=1)


@asynccontextmanager
async def opened(folder: Path, silence: float = 30) -> AsyncIterator[RunStore]:
    """A store whose MLflow is a plain file that takes nothing: these tests are about the rest."""
    store = RunStore(folder / "runs", f"sqlite:///{folder}/mlflow.db", silence=silence)
    await store.start()
    try:
        yield store
    finally:
        await store.close(timeout=30)


async def until_ended(store: RunStore, run_id: str, seconds: float = 10) -> Run:
    ended = asyncio.Event()

    def heard(changed_id: str, _changed: bool) -> None:
        if changed_id == run_id and store.get(run_id).ended is not None:
            ended.set()

    store.subscribe(heard)
    if store.get(run_id).ended is None:
        await asyncio.wait_for(ended.wait(), seconds)
    return store.get(run_id)


def metrics(first: int, count: int) -> list[RunMetric]:
    return [
        RunMetric(step=step, time=step / 10, values={"loss": 1.0}) for step in range(first, first + count)
    ]


def test_a_run_that_nobody_reports_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, silence=1) as store:
            lost, told = [await store.begin(REQUEST, "s-1", "ada") for _ in range(2)]
            waiting = asyncio.create_task(until_ended(store, lost.id))
            while not waiting.done():
                store.update(told.id, RunUpdate())
                await asyncio.sleep(0.1)
            run = await waiting
            assert run.state is RunState.FAILED
            assert "Nobody reports" in run.error
            assert store.update(lost.id, RunUpdate(state=RunState.RUNNING)).order == "kill"
            assert store.get(told.id).state is RunState.PENDING

    asyncio.run(scenario())


def test_stopping_a_run_that_nobody_reports_ends_it_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, silence=5) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            assert store.stop(run.id).state is RunState.STOPPING, "its kernel may only just begin"
            await asyncio.sleep(1.2)
            assert store.stop(run.id).state is RunState.STOPPED
            assert store.update(run.id, RunUpdate()).order == "kill"

    asyncio.run(scenario())


def test_a_users_runs_and_living_ones_are_not_cut_for_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            old = await store.begin(REQUEST, "s-1", "ada")
            done = await store.begin(REQUEST, "s-1", "ada")
            store.update(done.id, RunUpdate(state=RunState.FINISHED))
            for _ in range(LISTED + 1):
                other = await store.begin(REQUEST, "s-2", "bob")
                store.update(other.id, RunUpdate(state=RunState.FINISHED))
            assert [run.id for run in store.list("ada")] == [done.id, old.id]
            assert [run.id for run in store.list("ada", "s-1")] == [done.id, old.id]
            assert store.list("ada", "s-2") == []
            assert len(store.list("bob")) == LISTED
            assert old.id in [run.id for run in store.list()]

    asyncio.run(scenario())


def finished(folder: Path, number: int, state: RunState, changed: float) -> str:
    run_id = f"r-{number:010x}"
    path = folder / "runs" / run_id
    path.mkdir(parents=True)
    run = {
        "id": run_id,
        "name": "x",
        "slice_id": "s-1",
        "user": "ada",
        "mine": True,
        "state": state,
        "strategy": "ddp",
        "world_size": 1,
        "created": changed,
        "ended": changed,
        "series": {"loss": [{"step": 1, "time": 1.0, "value": 2.0}]},
    }
    (path / "run.json").write_text(json.dumps({"run": run, "request": REQUEST.model_dump()}))
    (path / "mlflow.json").write_text('{"ended": true}')
    os.utime(path / "run.json", (changed, changed))
    return run_id


def test_a_start_reads_the_newest_runs_and_no_metrics(tmp_path: Path) -> None:
    ids = [finished(tmp_path, n, RunState.FINISHED, 1000.0 + n) for n in range(KEPT + 20)]
    alive = finished(tmp_path, 9999, RunState.RUNNING, 10.0)
    (tmp_path / "runs" / alive / "mlflow.json").unlink()
    (tmp_path / "runs" / ids[-1] / "metrics.jsonl").write_text("not to be read\n")

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            known = {run.id for run in store.list()}
            assert len(known) == LISTED
            assert ids[-1] in known
            assert store.get(alive).state is RunState.FAILED, "however old, it was alive"
            assert store.get(ids[-1]).series["loss"][0].value == 2.0
            assert store.get(ids[0]).series["loss"][0].value == 2.0, "an old one is read when asked for"
            run = await store.begin(REQUEST, "s-1", "ada")
            assert len(store._shelf) == KEPT + 1
            said = ["a line of its log"] * 200
            store.update(run.id, RunUpdate(metrics=metrics(0, 20_000), logs=said, state=RunState.FINISHED))
            before = store.get(run.id)
        held = store_entry.history(tmp_path / "runs", KEPT)
        assert held.replayed == set()
        async with opened(tmp_path) as store:
            after = store.get(run.id)
            assert after.series == before.series
            assert len(after.series["loss"]) > 250
            assert (after.step, after.state) == (19_999, RunState.FINISHED)
            (listed,) = [one for one in store.list() if one.id == run.id]
            assert listed.abridged
            assert len(listed.series["loss"]) <= 30
            assert len(listed.model_dump_json()) < 3000, "each report of any run sends it to each open panel"
            assert (len(after.log_tail), after.abridged) == (200, False)

    asyncio.run(scenario())


def test_a_long_run_of_a_dead_server_is_read_quickly(tmp_path: Path) -> None:
    run_id = finished(tmp_path, 1, RunState.RUNNING, 10.0)
    record = json.loads((tmp_path / "runs" / run_id / "run.json").read_text())
    record["run"].update(series={}, ended=None)
    (tmp_path / "runs" / run_id / "run.json").write_text(json.dumps(record))
    RunFolder(tmp_path / "runs" / run_id).append(METRICS, metrics(0, 100_000))
    began = time.monotonic()
    found = store_entry.history(tmp_path / "runs", KEPT)
    assert time.monotonic() - began < 4, "it took 9 s when every point was made anew"
    assert found.entries[0].run.step == 99_999
    assert found.replayed == {run_id}


class Counting(RunFolder):
    """A run folder that counts how often it is tried."""

    tried = 0

    def append(self, name: str, lines: Sequence[BaseModel]) -> None:
        self.tried += 1
        super().append(name, lines)


def test_a_disk_that_refuses_is_tried_once_a_pause_and_loses_nothing(tmp_path: Path) -> None:
    written = threading.Event()
    folder = Counting(tmp_path / "r-1")
    writer = FolderWriter(lambda _folder: written.set(), pause=0.2)
    writer.start()
    for step in range(50):
        writer.submit(folder, metrics(step, 1), text=None if step % 10 else f"record {step}")
        threading.Event().wait(0.01)
    assert folder.tried <= 4
    folder.create()
    assert written.wait(10)
    writer.close(5)
    assert [metric.step for metric in folder.metrics()[0]] == list(range(50))
    assert (folder.path / "run.json").read_text() == "record 40"


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r-1")
    writer = FolderWriter(lambda _folder: None, pause=60)
    writer.start()
    writer.submit(folder, metrics(0, 1))
    threading.Event().wait(0.1)
    folder.create()
    writer.submit(folder, metrics(1, 1), text="the record")
    writer.close(5)
    assert len(folder.metrics()[0]) == 2
    assert (folder.path / "run.json").read_text() == "the record"


def test_the_event_loop_writes_no_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            temporary = whole.draft_of(tmp_path / "runs" / run.id / "run.json")
            os.mkfifo(temporary)  # opening it for writing blocks until somebody reads
            began = time.monotonic()
            store.update(run.id, RunUpdate(state=RunState.RUNNING, metrics=metrics(0, 3)))
            store.stop(run.id)
            assert time.monotonic() - began < 1
            assert run.id in await asyncio.to_thread(temporary.read_text)
            temporary.unlink(missing_ok=True)
            store.update(run.id, RunUpdate(state=RunState.STOPPED))
        record = RunFolder(temporary.parent).read()
        assert record is not None
        assert record.run.state is RunState.STOPPED

    asyncio.run(scenario())


def test_data_that_was_prepared_for_a_run_goes_when_it_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            run = await store.begin(REQUEST, "s-1", "ada")
            data = tmp_path / "runs" / run.id / "data"
            data.mkdir()
            (data / "0.0-0.npy").write_bytes(b"rows")
            store.update(run.id, RunUpdate(state=RunState.RUNNING))
            assert data.exists()
            store.update(run.id, RunUpdate(state=RunState.FINISHED))
            for _ in range(1000):
                if not data.exists():
                    break
                await asyncio.sleep(0.01)
            assert not data.exists()
            assert (tmp_path / "runs" / run.id / "run.json").exists()

    asyncio.run(scenario())
