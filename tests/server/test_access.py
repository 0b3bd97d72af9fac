"""Who gets in, and where a kernel's own token does not lead."""

from __future__ import annotations

import json

import pytest
from tornado.httpclient import HTTPClientError

ENDPOINTS = [
    ("GET", "openapi.json"),
    ("GET", "status"),
    ("GET", "cluster"),
    ("GET", "metrics"),
    ("GET", "slices"),
    ("GET", "slices/s-00000000"),
    ("PATCH", "slices/s-00000000"),
    ("DELETE", "slices/s-00000000"),
    ("POST", "slices/s-00000000/activate"),
    ("GET", "slices/s-00000000/connection"),
    ("GET", "slices/s-00000000/dashboard"),
    ("POST", "slices/s-00000000/ask-to-free"),
    ("GET", "slices/s-00000000/forecast"),
    ("POST", "slices/s-00000000/what-if"),
    ("GET", "runs"),
    ("POST", "runs"),
    ("GET", "runs/r-0"),
    ("GET", "runs/r-0/log"),
    ("PATCH", "runs/r-0"),
    ("POST", "runs/r-0/stop"),
    ("GET", "models"),
    ("POST", "models"),
    ("GET", "models/m"),
    ("POST", "models/m/versions/1/compress"),
    ("GET", "jobs"),
    ("GET", "jobs/j-0"),
    ("GET", "policies"),
    ("POST", "replays"),
    ("GET", "replays/p-0"),
    ("DELETE", "replays/p-0"),
    ("GET", "nowhere"),
]


IDS = {
    "s-00000000": "{slice_id}",
    "r-0": "{run_id}",
    "j-0": "{job_id}",
    "p-0": "{replay_id}",
    "m": "{name}",
    "1": "{version}",
}


def template(path: str) -> str:
    return "/".join(IDS.get(part, part) for part in path.split("/"))


async def test_nobody_gets_in_without_signing_in_nor_with_a_made_up_token(api):
    for method, path in ENDPOINTS:
        for headers in ({"Authorization": ""}, {"Authorization": "token wrong"}):
            with pytest.raises(HTTPClientError) as refused:
                await api.fetch(
                    "aios/api", path, method=method, headers=headers, allow_nonstandard_methods=True
                )
            assert refused.value.code in (401, 403), (method, path)
            assert set(json.loads(refused.value.response.body)) == {"message", "reason", "hint"}
        reply = await api(method, f"aios/api/{path}", token="made-up")
        assert reply.status == 403, (method, path)
        assert reply.is_problem

    document = (await api("GET", "aios/api/openapi.json")).body
    known = {(m.upper(), p.removeprefix("/aios/api/")) for p, ms in document["paths"].items() for m in ms}
    assert known == {(method, template(path)) for method, path in ENDPOINTS} - {("GET", "nowhere")}


async def test_a_kernel_acts_on_its_own_slice_alone(api):
    _, first = await api.kernel("a.ipynb")
    kernel_id, second = await api.kernel("b.ipynb")
    token = api.token(second)
    assert (await api("GET", f"aios/api/slices/{second}", token=token)).body["mine"]
    for method, path, body in (
        ("GET", f"slices/{first}", None),
        ("PATCH", f"slices/{first}", {"workers": 1}),
        ("DELETE", f"slices/{first}", None),
        ("POST", f"slices/{first}/activate", None),
        ("GET", f"slices/{first}/connection", None),
        ("GET", f"slices/{first}/forecast", None),
        ("POST", f"slices/{first}/what-if", {"workers": 1}),
    ):
        reply = await api(method, f"aios/api/{path}", body, token=token)
        assert reply.status == 403, (method, path, reply)
        assert reply.is_problem
    listed = {one["id"]: one for one in (await api("GET", "aios/api/slices", token=token)).body}
    assert listed[second]["mine"]
    assert not listed[first]["mine"]
    assert listed[first]["name"] == "a.ipynb", "what others read when they wait for it"
    assert listed[first]["kernel_id"] is None
    for path in ("api/kernels", f"api/kernels/{kernel_id}", "api/contents", "api/sessions", "api/me"):
        with pytest.raises(HTTPClientError) as refused:
            await api.fetch(path, headers={"X-AIOS-Token": token, "Authorization": ""})
        assert refused.value.code == 403, path


async def test_a_cookie_needs_the_xsrf_token_and_a_kernel_does_not(api):
    _, slice_id = await api.kernel()
    signed_in = await api.fetch("aios/api/status")
    cookie = "; ".join(value.split(";")[0] for value in signed_in.headers.get_list("Set-Cookie"))
    headers = {"Cookie": cookie, "Authorization": ""}
    assert (await api.fetch("aios/api/status", headers=dict(headers))).code == 200
    with pytest.raises(HTTPClientError) as refused:
        await api.fetch(
            f"aios/api/slices/{slice_id}/activate",
            method="POST",
            headers=dict(headers),
            allow_nonstandard_methods=True,
        )
    assert refused.value.code == 403
    assert set(json.loads(refused.value.response.body)) == {"message", "reason", "hint"}
    token = api.token(slice_id)
    assert (await api("POST", f"aios/api/slices/{slice_id}/activate", token=token)).status == 200
    body = {"name": "n", "strategy": "ddp", "world_size": 1}
    assert (await api("POST", "aios/api/runs", body)).status == 403, "only a kernel begins a run"
    path = f"aios/api/slices/{slice_id}/connection"
    assert (await api("GET", path)).status == 403, "credentials go to the kernel, not to the browser"
