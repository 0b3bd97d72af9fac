"""The websocket: a snapshot on subscribing, then what is new, the newest for the slow."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch
from tornado.httpclient import HTTPClientError

from aios_lab.models.registry import Registry
from aios_lab.wire import Problem

TOPICS = ["status", "cluster", "slices", "runs", "models", "jobs"]


async def read(socket: Any, topic: str, seconds: float = 20.0) -> dict[str, Any]:
    """The next frame of a topic."""
    async with asyncio.timeout(seconds):
        while True:
            message = await socket.read_message()
            assert message is not None, "the server closed the websocket"
            frame: dict[str, Any] = json.loads(message)
            if frame["topic"] == topic:
                return frame


async def test_no_stranger_and_no_foreign_page_listens(api, jp_ws_fetch):
    _, slice_id = await api.kernel()
    for headers in ({"Authorization": ""}, {"Authorization": "", "X-AIOS-Token": api.token(slice_id)}):
        with pytest.raises(HTTPClientError) as refused:
            await jp_ws_fetch("aios/api/stream", headers=headers)
        assert refused.value.code == 403

    cookie = (await api.fetch("aios/api/status")).headers.get_list("Set-Cookie")
    signed_in = "; ".join(one.split(";")[0] for one in cookie)
    headers = {"Authorization": "", "Cookie": signed_in, "Origin": "https://elsewhere.example"}
    with pytest.raises(HTTPClientError) as refused:
        await jp_ws_fetch("aios/api/stream", headers=headers)
    assert refused.value.code == 403


async def test_what_an_administrator_should_mend_is_pushed_and_logged(api, jp_ws_fetch, caplog):
    quotas = api.app.folder / "quotas.yaml"
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["status"]}))
    assert (await read(socket, "status"))["data"]["problems"] == []
    quotas.write_text("projects: {default: {wieght: 1}}\n")
    (problem,) = (await read(socket, "status"))["data"]["problems"]
    assert "line 1: project default has no 'wieght'" in problem["message"]
    assert [line.getMessage() for line in caplog.records if "wieght" in line.getMessage()]
    quotas.unlink()
    assert (await read(socket, "status"))["data"]["problems"] == []


async def test_a_snapshot_of_each_topic_then_pushes(api, jp_ws_fetch):
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": TOPICS}))
    seen = set()
    while seen != set(TOPICS):
        frame = json.loads(await asyncio.wait_for(socket.read_message(), 20))
        assert set(frame) == {"topic", "seq", "data"}
        assert frame["seq"] == 1 or frame["topic"] in seen
        seen.add(frame["topic"])
    kernel_id, slice_id = await api.kernel()
    while True:
        frame = await read(socket, "slices")
        if [one["id"] for one in frame["data"]] == [slice_id]:
            break
    assert frame["seq"] >= 2
    assert frame["data"][0]["kernel_id"] == kernel_id
    assert frame["data"][0]["mine"]
    body = {"name": "n", "strategy": "ddp", "world_size": 1}
    run = (await api("POST", "aios/api/runs", body, token=api.token(slice_id))).body
    assert (await read(socket, "runs"))["data"][0]["id"] == run["id"]
    socket.close()
    await a_topic_taken_up_again_goes_on_counting(jp_ws_fetch)
    await what_a_kernel_registers_is_pushed(api, jp_ws_fetch)
    await the_sampler_runs_only_while_somebody_watches_use(api, jp_ws_fetch)
    await bad_messages_are_answered(api, jp_ws_fetch)
    await a_problem_is_said_once_and_so_is_its_end(api, jp_ws_fetch)


async def a_topic_taken_up_again_goes_on_counting(jp_ws_fetch):
    """A panel that was hidden asks anew, and takes what counts from 1 again for old."""
    socket = await jp_ws_fetch("aios/api/stream")
    seen = []
    for topics in (["runs"], ["jobs"], ["runs", "jobs"]):
        await socket.write_message(json.dumps({"topics": topics}))
        seen.append((await read(socket, topics[0]))["seq"])
    assert seen == [1, 1, 2]
    socket.close()


async def what_a_kernel_registers_is_pushed(api, jp_ws_fetch):
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["models"]}))
    assert (await read(socket, "models"))["data"] == []
    elsewhere = Registry(api.app._mlflow(), api.app._artifacts())
    await asyncio.to_thread(elsewhere.register, torch.nn.Linear(2, 1), "from-a-kernel")
    assert (await read(socket, "models"))["data"][0]["name"] == "from-a-kernel"
    socket.close()


async def the_sampler_runs_only_while_somebody_watches_use(api, jp_ws_fetch):
    feed = api.app.services.feed
    async with asyncio.timeout(5):
        while feed._task:
            await asyncio.sleep(0.02)
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["runs"]}))
    await read(socket, "runs")
    assert not feed._task
    await socket.write_message(json.dumps({"topics": ["cluster"]}))
    await read(socket, "cluster")
    assert feed._task
    socket.close()
    async with asyncio.timeout(5):
        while feed._task:
            await asyncio.sleep(0.02)


async def bad_messages_are_answered(api, jp_ws_fetch):
    socket = await jp_ws_fetch("aios/api/stream")
    for message in ("{", "[]", json.dumps({"topics": "runs"}), json.dumps({"topics": ["secrets"]})):
        await socket.write_message(message)
        problem = (await read(socket, "problem"))["data"]
        assert problem["reason"] == "bad_request"
        assert problem["hint"]
    await socket.write_message(json.dumps({"topics": ["runs"]}))
    assert len((await read(socket, "runs"))["data"]) == 1
    socket.close()


async def a_problem_is_said_once_and_so_is_its_end(api, jp_ws_fetch):
    services = api.app.services
    parts = (
        services.broker,
        services.runs,
        services.registry,
        services.jobs,
        services.use,
        services.replays,
    )
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["runs", "jobs"]}))
    await read(socket, "runs")
    for number in (1, 2):  # the same problem is said again when it comes again
        services.close(Problem(message="No disk.", reason="no_disk", hint="Mend it."))
        services.feed.changed("runs", "jobs")
        frame = await read(socket, "problem")
        assert (frame["data"]["reason"], frame["seq"]) == ("no_disk", 2 * number - 1)
        services.open(*parts)
        services.feed.changed("runs", "jobs")
        frame = await read(socket, "problem")
        assert (frame["data"], frame["seq"]) == (None, 2 * number)
    socket.close()
