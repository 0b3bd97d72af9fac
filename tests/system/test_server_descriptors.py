"""A server that may open no more files: who asks is told so, what runs goes on, and nothing leaks."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any

from claims import Claim, Resting
from engines.test_descriptors import no_descriptor_left
from live import until


class Line:
    """A connection that was open before: with no descriptor left the server can take no new one."""

    def __init__(self, server: Resting) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.call("GET", "status")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"token {self._server.token}"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/aios/api/{path}", content, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def view(self, claim: Claim) -> dict[str, Any]:
        status, view = self.call("GET", f"slices/{claim.id}")
        assert status == 200
        return dict(view)


def test_a_server_without_descriptors(tmp_path: Path):
    server = Resting(tmp_path, "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n")
    try:
        server.start()
        running, asking = server.claim(), server.claim()
        running.ask(1)
        running.reaches("active", 1)
        once(asking)
        processes, line = server.engine_processes(), Line(server)
        files = len(os.listdir(f"/proc/{server.pid}/fd"))
        with no_descriptor_left(server.pid):
            for _ in range(3):
                status, answer = line.call("PATCH", f"slices/{asking.id}", {"workers": 1})
                assert status == 200, answer
                until("it failed", lambda: line.view(asking)["state"] == "failed", 60)
                assert "ulimit -n" in line.view(asking)["problem"]
            assert (line.view(running)["state"], line.view(running)["workers"]) == ("active", 1)
            assert server.engine_processes() == processes
            # Growing takes no file of the server's, only of the slice's.
            assert line.call("PATCH", f"slices/{running.id}", {"workers": 2})[0] == 200
            until("it grew", lambda: line.view(running)["workers"] == 2, 60)
            assert line.call("DELETE", f"slices/{running.id}")[0] == 200
            until("it gave back", lambda: line.view(running)["target"] == 0, 60)
            assert line.call("GET", "status")[1]["problems"] == []
        until("only the forkserver is left", lambda: len(server.engine_processes()) == 1, 60)
        once(asking)
        running.activate()
        running.reaches("active", 2)
        until("nothing leaked", lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= files + 1, 30)
        print(f"{files} files open before, {len(os.listdir(f'/proc/{server.pid}/fd'))} after")
    finally:
        server.stop()


def once(claim: Claim) -> None:
    claim.ask(1)
    claim.reaches("active", 1)
    claim.release()
    claim.reaches("requested", 0)
