"""What a leader tells reaches the record over the slice's line, less what that does not take."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aios_lab.engines.local import uplink as uplinks
from aios_lab.engines.local.uplink import Uplink
from aios_lab.training.leader import teller as tellers
from aios_lab.training.leader.teller import Teller
from aios_lab.training.untold import untold
from aios_lab.wire import RunMetric, RunState


def metric(step: int) -> RunMetric:
    return RunMetric(step=step, time=1.0, values={"loss": 0.5})


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


async def test_what_an_engine_does_not_answer_is_told_again_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplinks, "AGAIN", 0.05)
    monkeypatch.setattr(tellers, "FINAL_WAIT", 60.0)
    lines: list[dict[str, Any]] = []
    obeyed: list[str] = []

    def engine(line: bytes) -> None:
        """It is killed over each message; the next one answers."""
        said = json.loads(line)
        lines.append(said)
        if lines.count(said) == 2:
            uplink.answered(said["number"], {"order": "stop"})

    uplink = Uplink(engine, lambda _: None)
    kernel: list[Any] = []
    teller = Teller("r-1", tmp_path, kernel.append, uplink, obeyed.append)
    teller.tell(state=RunState.RUNNING, metrics=[metric(1), metric(2)])
    while len(lines) < 2:
        await asyncio.sleep(0.01)
    teller.tell(state=RunState.STOPPED, metrics=[metric(3)])
    await teller.finish([])
    assert lines[::2] == lines[1::2], "each is sent twice, and the second time as the first"
    told = [line["told"] for line in lines[::2]]
    assert [one["number"] for one in told] == list(range(1, len(told) + 1))
    news = [one for one in told if one["update"]]
    assert [(one["first"], one["update"]["state"]) for one in news] == [(0, "running"), (2, "stopped")]
    assert [[m["step"] for m in one["update"]["metrics"]] for one in news] == [[1, 2], [3]]
    assert obeyed == ["stop"]
    assert [message["number"] for message in kernel] == [1, 2, 3]
    assert not list(tmp_path.iterdir())


async def test_what_nobody_answers_is_left_in_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tellers, "FINAL_WAIT", 0.5)
    sent: list[dict[str, Any]] = []
    kernel: list[Any] = []
    uplink = Uplink(lambda line: sent.append(json.loads(line)["told"]), lambda _: None)
    teller = Teller("r-1", tmp_path, kernel.append, uplink, lambda _: None)
    teller.tell(state=RunState.RUNNING, metrics=[metric(1), metric(2)])
    while not sent:
        await asyncio.sleep(0.01)
    teller.tell(metrics=[metric(3)], logs=["rank 0: the end"])
    teller.tell(state=RunState.FINISHED, ended=9.0)
    await teller.finish([])
    heard, rest = untold(tmp_path)
    assert {"run": "r-1", **heard.model_dump(mode="json", exclude_unset=True)} == sent[0]
    assert (heard.number, heard.first, rest.number, rest.first) == (1, 0, 2, 2)
    assert [one.step for one in rest.update.metrics] == [3]
    assert (rest.update.state, rest.update.ended) == (RunState.FINISHED, 9.0)
    assert rest.update.logs == ["rank 0: the end"]
    assert "over" in kernel[-1], "its kernel does not wait for the record"
