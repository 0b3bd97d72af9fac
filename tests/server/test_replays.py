"""What would have happened, asked of a real server about slices that were really used."""

from __future__ import annotations

import asyncio

import pytest

from aios_lab.allocation import POLICIES


async def finished(api, replay_id: str) -> dict:
    """Every answer shows a change, or that the replay has ended."""
    async with asyncio.timeout(120):
        while True:
            one = (await api("GET", f"aios/api/replays/{replay_id}", params={"wait": 20})).body
            if one["state"] != "running":
                return one


async def started(api, **body) -> dict:
    reply = await api("POST", "aios/api/replays", {"policies": ["fcfs"], **body})
    assert reply.status == 202, reply
    assert reply.body["state"] == "running"
    return reply.body


async def active(api, slice_id: str, workers: int) -> None:
    async with asyncio.timeout(60):
        while (await api("GET", f"aios/api/slices/{slice_id}")).body["workers"] != workers:
            path = f"aios/api/slices/{slice_id}/connection"
            await api("GET", path, token=api.token(slice_id), params={"wait": 5})


@pytest.fixture
def used(api, jp_asyncio_loop):
    """A kernel that has had a slice, and gave it back."""

    async def use() -> str:
        _, slice_id = await api.kernel()
        await api("POST", f"aios/api/slices/{slice_id}/activate")
        await active(api, slice_id, 1)
        return slice_id

    return api, jp_asyncio_loop.run_until_complete(use())


async def test_what_happened_stands_beside_what_would_have(used):
    api, _ = used
    there = (await api("GET", "aios/api/policies")).body
    assert there == {"names": list(POLICIES), "in_force": "fair_share"}
    one = await finished(api, (await started(api, policies=["fair_share", "sjf+easy"]))["id"])
    assert (one["state"], one["uses"], one["problem"], one["progress"]) == ("finished", 1, None, 1)
    assert one["in_force"] == ["fair_share"]
    assert [line["policy"] for line in one["figures"]] == ["as it was", "fair_share", "sjf+easy"]
    assert [line["past"] for line in one["figures"]] == [True, False, False]
    for line in one["figures"]:
        assert len(line["waits"]) == 101
        assert len(line["mine"]) == len(line["others"]) == len(line["in_use"]) == len(line["times"]) - 1
        assert max(line["mine"]) > 0
        assert not any(line["others"])
    assert one["figures"][1]["wait_mean"] <= one["figures"][0]["wait_mean"]
    document = (await api("GET", "aios/api/openapi.json")).body
    assert {"/aios/api/replays", "/aios/api/policies"} <= {
        path if path.startswith("/aios") else f"/aios/api/{path.lstrip('/')}" for path in document["paths"]
    }


async def test_too_little_is_no_failure_of_anybody(api):
    one = await finished(api, (await started(api))["id"])
    assert (one["state"], one["problem"]["reason"], one["figures"]) == ("failed", "too_little", [])


async def test_one_at_a_time_until_it_is_cancelled(used):
    api, _ = used
    one = await started(api, policies=list(POLICIES)[:6])
    again = await api("POST", "aios/api/replays", {"policies": ["fcfs"]})
    assert (again.status, again.body["reason"]) == (409, "busy")
    ended = await api("DELETE", f"aios/api/replays/{one['id']}")
    assert ended.body["state"] == "cancelled"
    assert (await finished(api, (await started(api))["id"]))["state"] == "finished"
    assert (await api("DELETE", f"aios/api/replays/{one['id']}")).body["state"] == "cancelled"


async def test_bad_questions_are_told_what_may_be_asked(api):
    for body in (
        {"policies": []},
        {"policies": ["fcfs"], "days": 0},
        {"policies": ["fcfs"], "days": 1e9},
        {},
    ):
        reply = await api("POST", "aios/api/replays", body)
        assert reply.is_problem, reply
        assert reply.status == 400, reply
    unknown = await api("POST", "aios/api/replays", {"policies": ["quick"]})
    assert (unknown.status, unknown.body["reason"]) == (422, "unknown_policy")
    assert "fair_share" in unknown.body["hint"]
    for method in ("GET", "DELETE"):
        assert (await api(method, "aios/api/replays/p-none")).status == 404
