"""A slice's Dask dashboard: through the server, for those who may see the slice, and no other way."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
from contextlib import suppress
from typing import Any

import psutil
import pytest
from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.websocket import WebSocketClientConnection

from people import PERSON

pytestmark = pytest.mark.people


async def open_slice(api: Any, notebook: str = "work.ipynb") -> str:
    """ada's kernel, and its slice with a worker."""
    _, slice_id = await api.kernel(notebook)
    assert (await api("POST", f"aios/api/slices/{slice_id}/activate")).status == 200
    path, token = f"aios/api/slices/{slice_id}/connection", api.token(slice_id)
    async with asyncio.timeout(120):
        while (await api("GET", path, token=token, params={"wait": "20"})).status != 200:
            continue
    return slice_id


async def get(api: Any, path: str, **headers: str) -> HTTPResponse:
    answer: HTTPResponse = await api.fetch(
        *path.split("/"), headers=headers, raise_error=False, follow_redirects=False
    )
    return answer


async def session(api: Any, root: str, jp_ws_fetch: Any, **headers: str) -> WebSocketClientConnection:
    """A session of Bokeh, as its page opens one, whose token only the page has."""
    page = (await get(api, f"{root}/status")).body.decode()
    token = re.search(r'"token":"([^"]+)"', page)
    assert token is not None
    protocols = {"Sec-WebSocket-Protocol": f"bokeh, {token[1]}"}
    connected: WebSocketClientConnection = await jp_ws_fetch(
        *f"{root}/status/ws".split("/"), headers=protocols | headers
    )
    return connected


async def heard(connection: WebSocketClientConnection) -> tuple[dict[str, Any], Any]:
    """One message of Bokeh's protocol: its header and its content."""
    parts = []
    for _ in range(3):
        part = await asyncio.wait_for(connection.read_message(), 60)
        assert part is not None, "the websocket was closed"
        parts.append(json.loads(part))
    return parts[0], parts[2]


async def test_its_owner_sees_it_live(api, jp_ws_fetch):
    slice_id = await open_slice(api)
    shown = (await api("GET", f"aios/api/slices/{slice_id}")).body["dashboard"]
    root = f"aios/slices/{slice_id}/dashboard"
    assert shown == f"{root}/status"

    page = await get(api, shown)
    assert page.code == 200
    assert "Dask Diagnostic UI" in page.body.decode()
    assert page.headers["Content-Type"].startswith("text/html")
    scripts = re.findall(r'src="(static/js/bokeh[^"]*)"', page.body.decode())
    assert scripts, "the page's scripts lie beside it, whatever the server's base URL"
    script = await get(api, f"{root}/static/js/bokeh.min.js")
    assert (script.code, script.headers["Content-Type"]) == (200, "text/javascript")
    again = await get(api, f"{root}/static/js/bokeh.min.js", **{"If-None-Match": script.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")
    assert json.loads((await get(api, f"{root}/json/counts.json")).body)["workers"] == 1
    assert (await get(api, f"{root}/info/main/workers.html")).code == 200
    assert (await get(api, f"{root}/nothing")).code == 404
    moved = await get(api, root)
    assert (moved.code, moved.headers["Location"].rpartition("/aios/")[2]) == (
        302,
        f"slices/{slice_id}/dashboard/status",
    )

    connection = await session(api, root, jp_ws_fetch)
    assert connection.selected_subprotocol == "bokeh"
    assert (await heard(connection))[0]["msgtype"] == "ACK"
    for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
        await connection.write_message(json.dumps(part))
    header, content = await heard(connection)
    while header["msgtype"] != "PULL-DOC-REPLY":
        header, content = await heard(connection)
    assert (header["reqid"], content["doc"]["title"]) == ("1", "Dask: Status")

    assert (await api("DELETE", f"aios/api/slices/{slice_id}")).status == 200
    async with asyncio.timeout(60):
        while await connection.read_message() is not None:
            continue
    async with asyncio.timeout(60):
        while (gone := await get(api, shown)).code == 200:  # its last breath
            await asyncio.sleep(0.1)
    assert (gone.code, json.loads(gone.body)["reason"]) == (409, "no_dashboard")


async def test_nobody_else_does(api, jp_ws_fetch):
    slice_id = await open_slice(api)
    other_id = await open_slice(api, "other.ipynb")
    other = {"X-AIOS-Token": api.token(slice_id), "Authorization": ""}
    root = f"aios/slices/{slice_id}/dashboard"
    own = await get(api, f"{root}/status", **other)
    assert own.code == 200, f"a kernel sees its own: {own.body.decode()}"

    refusals = {
        (slice_id, 403): {PERSON: "bob"},
        (other_id, 403): other,
        ("s-00000000", 404): {},
    }
    for (asked, status), headers in refusals.items():
        path = f"aios/slices/{asked}/dashboard/status"
        refused = await get(api, path, **headers)
        assert (refused.code, set(json.loads(refused.body))) == (status, {"message", "reason", "hint"})
        page = await get(api, path, Accept="text/html,*/*;q=0.8", **headers)
        assert (page.code, page.headers["Content-Type"]) == (status, "text/html; charset=UTF-8")
        assert json.loads(refused.body)["message"] in page.body.decode()
        with pytest.raises(HTTPClientError) as closed:
            await session(
                api,
                root,
                lambda *_, headers, to=path: jp_ws_fetch(*f"{to}/ws".split("/"), headers=headers),
                **headers,
            )
        assert closed.value.code == status

    script = await get(api, f"{root}/json/counts.json", Authorization="")
    assert (script.code, json.loads(script.body)["reason"]) == (403, "forbidden")
    stranger = await get(api, f"{root}/status", Authorization="", Accept="text/html")
    assert stranger.code == 302
    assert "login" in stranger.headers["Location"]
    for headers in ({"Authorization": ""}, {"Authorization": "", "X-AIOS-Token": "made-up"}):
        with pytest.raises(HTTPClientError) as closed:
            await session(api, root, jp_ws_fetch, **headers)
        assert closed.value.code == 403
    cookies = (await get(api, "aios/api/status")).headers.get_list("Set-Cookie")
    signed_in = "; ".join(one.split(";")[0] for one in cookies)
    foreign = {"Authorization": "", "Cookie": signed_in, "Origin": "https://elsewhere.example"}
    with pytest.raises(HTTPClientError) as closed:
        await session(api, root, jp_ws_fetch, **foreign)
    assert closed.value.code == 403
    nothing = "aios/slices/s-unknown/dashboard/status/ws"
    for headers, status in ((other, 404), (other | {"Origin": "https://elsewhere.example"}, 403)):
        with pytest.raises(HTTPClientError) as closed:
            await jp_ws_fetch(*nothing.split("/"), headers=headers)
        assert closed.value.code == status, "another origin learns nothing, not even whether there is a slice"


async def test_no_secret_of_the_server_reaches_it_and_none_of_its_cookies_the_browser(api):
    """In the dashboard's place a program that shows what it is told."""
    slice_id = await open_slice(api)
    root = f"aios/slices/{slice_id}/dashboard"
    path = await api.app.services.broker.dashboard(slice_id)
    path.unlink()
    token = api.app.serverapp.identity_provider.token
    told: list[bytes] = []

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nX-Own: 1\r\n\r\nok")
        writer.close()

    folder = os.open(path.parent, os.O_PATH)
    async with await asyncio.start_unix_server(tell, f"/proc/self/fd/{folder}/{path.name}"):
        os.close(folder)
        answer = await api.fetch(
            *f"{root}/a%2Fb".split("/"),
            params={"token": token, "x": "1"},
            headers={
                "Authorization": "",
                "Cookie": "c=secret",
                "X-XSRFToken": "secret",
                "Referer": "http://x/?token=secret",
                "Accept": "text/x",
            },
            raise_error=False,
        )
    assert (answer.code, answer.body) == (200, b"ok")
    assert "X-Own" not in answer.headers
    assert "a=b" not in str(answer.headers)
    (sent,) = told
    assert sent.startswith(b"GET /a%252Fb?x=1 HTTP/1.1\r\n")
    assert b"secret" not in sent
    assert token.encode() not in sent
    assert b"Accept: text/x" in sent
    assert b"uthorization" not in sent


async def test_its_processes_listen_on_the_loopback_for_tls_alone(api):
    slice_id = await open_slice(api)
    forkserver = "aios_lab.engines.local.forkserver"
    (init,) = [one for one in psutil.Process().children() if forkserver in one.cmdline()]
    pids = [one.pid for one in init.children(recursive=True)]

    def listening() -> set[tuple[str, int]]:
        found = {(pid, one) for pid in pids for one in psutil.Process(pid).net_connections("inet")}
        assert all(one.laddr.ip == "127.0.0.1" for _, one in found)
        return {(pid, one.laddr.port) for pid, one in found if one.status == psutil.CONN_LISTEN}

    before = listening()
    assert len(before) == len(pids) == 2, "a scheduler and a worker, each with Dask's own port"
    assert (await get(api, f"aios/slices/{slice_id}/dashboard/status")).code == 200
    assert listening() == before
    path = await api.app.services.broker.dashboard(slice_id)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    for _, port in before:  # whoever connects there and speaks no TLS is told nothing
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.settimeout(60)
            stranger.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            with suppress(ConnectionResetError):
                assert b"HTTP" not in stranger.recv(1000)
