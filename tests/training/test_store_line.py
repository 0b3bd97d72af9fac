"""What leaders tell reaches the record once, whatever was killed in between."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aios_lab.training import untold
from aios_lab.training.news import News
from aios_lab.training.record.files import RunFolder
from aios_lab.training.record.line import StoreLine
from aios_lab.training.record.refused import RunRefused
from aios_lab.training.record.store import RunStore
from aios_lab.training.untold import NAME, leave_untold
from aios_lab.wire import RankUsage, Resize, RunMetric, RunRequest, RunState

REQUEST = RunRequest(name="digits", strategy="ddp", world_size=2, detached=True)
GROWN = Resize(time=1.0, step=3, before=1, after=2, why="The slice grew.", seconds=0.5)


USED = RankUsage(rank=0, time=1000.0, cpu=9.0, memory=5, gpu=None, gpu_memory=None, joules=40.0)


class Record:
    """A store with its line, opened as a server does."""

    def __init__(self, folder: Path) -> None:
        self.store = RunStore(folder / "runs", f"sqlite:///{folder / 'mlflow.db'}")
        self.said: list[tuple[str, Mapping[str, Any]]] = []
        self.line = StoreLine(self.store, lambda slice_id, message: self.said.append((slice_id, message)))

    async def tell(self, message: Mapping[str, Any], slice_id: str = "s-1") -> Mapping[str, Any]:
        answered: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.line.told(slice_id, message, answered.set_result)
        return await asyncio.wait_for(answered, 20)


def metrics(first: int, count: int) -> list[RunMetric]:
    return [RunMetric(step=n, time=1000.0 + n, values={"loss": 1.0}) for n in range(first, first + count)]


def message(run_id: str, number: int, first: int, count: int, **more: Any) -> dict[str, Any]:
    told = {"metrics": [one.model_dump(mode="json") for one in metrics(first, count)], **more}
    return {"run": run_id, "number": number, "first": first, "update": told}


def steps(store: RunStore, run_id: str) -> list[int]:
    return [metric.step for metric in RunFolder(store.runs_dir / run_id).metrics()[0]]


async def test_what_comes_twice_counts_once_also_for_the_next_server(tmp_path: Path) -> None:
    killed = Record(tmp_path)
    await killed.store.start()
    run = await killed.store.begin(REQUEST, "s-1", "ada")
    resized = message(run.id, 1, 0, 5, state="running", resizes=[GROWN.model_dump()])
    assert await killed.tell(resized) == {"order": "go"}
    assert steps(killed.store, run.id) == [0, 1, 2, 3, 4], "what was answered is on the disk"
    assert await killed.tell(resized) == {"order": "go"}
    heir = Record(tmp_path)  # the first one is killed: it closes nothing
    await heir.store.start(lambda slice_id: slice_id == "s-1")
    await heir.tell(resized)
    await heir.tell(message(run.id, 2, 3, 6, logs=["rank 0: hello"]))
    assert steps(heir.store, run.id) == list(range(9))
    seen = heir.store.get(run.id)
    assert (seen.step, seen.log_tail, seen.resizes) == (8, ["rank 0: hello"], [GROWN])
    heir.store.stop(run.id)
    assert heir.said == [("s-1", {"run": run.id, "order": "stop"})]
    assert await heir.tell(message(run.id, 3, 9, 0)) == {"order": "stop"}
    await heir.tell(message(run.id, 4, 9, 0, state="stopped"))
    assert heir.store.get(run.id).state is RunState.STOPPED
    await heir.store.close()
    await killed.store.close(leave={"s-1"})


async def test_a_slice_speaks_for_its_own_runs_alone(tmp_path: Path) -> None:
    record = Record(tmp_path)
    await record.store.start()
    run = await record.store.begin(REQUEST, "s-1", "ada")
    forged = message(run.id, 1, 0, 5, state="failed")
    assert await record.tell(forged, slice_id="s-2") == {"order": "kill"}
    assert await record.tell({**forged, "run": "r-0000000000"}) == {"order": "kill"}
    assert await record.tell({**forged, "update": {"state": "elsewhere"}}) == {}
    assert await record.tell({"nonsense": 1}) == {"order": "kill"}
    assert record.store.get(run.id).state is RunState.PENDING
    await record.store.close()


async def test_the_next_server_reads_what_a_leader_could_tell_nobody(tmp_path: Path) -> None:
    killed = Record(tmp_path)
    await killed.store.start()
    run, other = [await killed.store.begin(REQUEST, "s-1", "ada") for _ in range(2)]
    await killed.tell(message(run.id, 1, 0, 5, state="running"))
    heard = message(run.id, 2, 5, 2)  # on the disk, and its server was killed before it could say so
    await killed.tell(heard)
    news = News()
    news.tell(metrics=metrics(0, 7))
    news.take()
    news.tell(metrics=metrics(7, 3), logs=["rank 0: the end"])
    news.tell(state=RunState.FINISHED, ended=2000.0)
    leave_untold(killed.store.runs_dir / run.id, {key: heard[key] for key in heard if key != "run"}, news)
    (killed.store.runs_dir / other.id / "untold.jsonl").write_text("nonsense\n" + json.dumps({"first": "x"}))
    heir = Record(tmp_path)
    await heir.store.start()
    seen = heir.store.get(run.id)
    assert (seen.state, seen.ended, seen.step) == (RunState.FINISHED, 2000.0, 9)
    assert seen.log_tail == ["rank 0: the end"]
    assert heir.store.get(other.id).error == "The server restarted while this run was going on."
    await heir.store.close()
    assert steps(heir.store, run.id) == list(range(10))
    await killed.store.close(leave={"s-1"})


async def test_nothing_that_a_slice_says_ends_the_line(tmp_path: Path) -> None:
    record = Record(tmp_path)
    await record.store.start()
    run = await record.store.begin(REQUEST, "s-1", "ada")
    huge = message(run.id, 1, 0, 1)
    huge["update"]["metrics"][0]["step"] = 2**63
    told = [
        huge,
        {**message(run.id, 2, 0, 1), "first": 2**63},
        message(run.id, 3, 0, 0, model=f"{record.store.runs_dir / run.id}/{'a' * 300}"),
    ]
    told += [message(run.id, 4, 0, 0, total_steps=10**400)]
    assert [await record.tell(one) for one in told] == [{}] * 4
    assert await record.tell(message(run.id, 5, 0, 3)) == {"order": "go"}
    assert record.store.get(run.id).step == 2
    await record.store.close()


async def test_what_ranks_used_counts_once_also_where_the_server_is_killed(tmp_path: Path) -> None:
    killed = Record(tmp_path)
    await killed.store.start()
    run = await killed.store.begin(REQUEST, "s-1", "ada")
    await killed.tell(message(run.id, 1, 0, 1, state="running"))
    used = message(run.id, 2, 1, 0, usage=[USED.model_dump()])
    await killed.tell(used)
    heir = Record(tmp_path)
    await heir.store.start(lambda slice_id: slice_id == "s-1")
    assert heir.store.get(run.id).joules == 40.0
    await heir.tell(used)  # it was not answered in time
    assert heir.store.get(run.id).joules == 40.0
    assert RunFolder(heir.store.runs_dir / run.id).usage()[0] == [USED]
    await heir.store.close()
    await killed.store.close(leave={"s-1"})


@pytest.mark.timeout(120)
async def test_what_users_put_into_a_runs_folder_holds_up_nobody(tmp_path: Path) -> None:
    killed = Record(tmp_path)
    await killed.store.start()
    pipes, broken, linked, good = [await killed.store.begin(REQUEST, "s-1", "ada") for _ in range(4)]
    await killed.tell(message(good.id, 1, 0, 5, state="running"))
    folder = killed.store.runs_dir
    for name in ("metrics.jsonl", "usage.jsonl", "untold.jsonl", "rank0.log"):
        os.mkfifo(folder / pipes.id / name)
    lines = [one.model_dump_json() for one in metrics(0, 2)]
    huge = metrics(0, 1)[0].model_copy(update={"step": 2**63}).model_dump_json()
    text = "\n".join([lines[0], "rubbish", '{"step": 1}', huge, lines[1], ""])
    (folder / broken.id / "metrics.jsonl").write_text(text)
    (folder / linked.id / "rank0.log").symlink_to("/etc/passwd")
    heir = Record(tmp_path)
    await heir.store.start(lambda slice_id: slice_id == "s-1")
    assert heir.store.get(broken.id).step == 1
    assert heir.store.get(good.id).step == 4
    assert heir.store.get(pipes.id).state is RunState.PENDING
    for run in (pipes, linked):
        with pytest.raises(RunRefused):
            heir.store.log(run.id, 0, 10)
    heir.store.end_of_slice("s-1", "The slice ended.")
    await heir.store.close()
    await killed.store.close(leave={"s-1"})


def test_what_a_leader_leaves_has_its_bounds_and_the_runs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untold, "LONGEST", 3 << 20)
    news = News()
    news.tell(state=RunState.FINISHED, metrics=metrics(0, 100_000))
    leave_untold(tmp_path, message("r-1", 1, 0, 2), news)
    size = (tmp_path / NAME).stat().st_size
    assert 1 << 20 < size <= untold.LONGEST
    first, second, *_ = untold.untold(tmp_path)
    assert (first.number, second.number, second.update.state) == (1, 2, RunState.FINISHED)
    with (tmp_path / NAME).open("ab") as file:
        file.truncate(1 << 32)  # by code of the user's, with a hole that costs no disk
    assert [one.number for one in untold.untold(tmp_path)][:2] == [1, 2]
