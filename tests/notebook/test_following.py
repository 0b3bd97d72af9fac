"""A run that another kernel began, followed by its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from aios_lab.notebook.attach import Following
from aios_lab.notebook.server import Server
from aios_lab.training.kernel.live import LiveRun
from aios_lab.training.kernel.run import Run
from aios_lab.wire import Run as RunView
from aios_lab.wire import RunState
from live import until

ANSWERED = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s"
CUT = b'HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{"id": "r-0'
REFUSED_AND_CUT = b'HTTP/1.0 503 Busy\r\nContent-Length: 500\r\n\r\n{"mess'


def view_of(state: RunState) -> RunView:
    now = time.time()
    return RunView(
        id="r-0123456789",
        name="x",
        slice_id="s-1",
        user="ada",
        mine=True,
        state=state,
        strategy="ddp",
        world_size=1,
        created=now,
        ended=now if state.ended else None,
    )


def answer(body: Any) -> bytes:
    text = json.dumps(body).encode()
    return ANSWERED % (len(text), text)


def record(state: RunState) -> bytes:
    return answer(view_of(state).model_dump(mode="json"))


@contextmanager
def answering(to: Callable[[str, str], bytes]) -> Iterator[Server]:
    """A server that sends these bytes, whatever they are, for a method and a path, and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(to(self.command, self.path))

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", "token", "s-1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_end_of_a_run_is_heard_though_its_metrics_cannot_be_read(tmp_path: Path) -> None:
    view = view_of(RunState.FINISHED)
    (tmp_path / "metrics.jsonl").mkdir()
    run = Run(LiveRun(view), tmp_path, lambda: b"")
    Following(run, Server("http://127.0.0.1:9", "token", "s-1"), view).look()
    assert run.wait(5).state is RunState.FINISHED


def test_a_handle_outlives_what_a_dying_server_and_a_newer_one_answer(tmp_path: Path) -> None:
    looks = [CUT, REFUSED_AND_CUT, b"", answer({"id": "r-0123456789", "news": 1}), record(RunState.RUNNING)]
    orders = [CUT, record(RunState.STOPPED)]
    asked: list[str] = []

    def give(method: str, path: str) -> bytes:
        asked.append(f"{method} {path}")
        if method == "POST":
            return orders.pop(0)
        if looks:
            return looks.pop(0)
        return record(RunState.RUNNING if orders else RunState.STOPPED)

    view = view_of(RunState.RUNNING)
    run = Run(LiveRun(view), tmp_path, lambda: b"")
    said: set[str] = set()
    run.on_change(lambda: said.update(run.live.tail()))

    def told(words: str) -> bool:
        return words in "\n".join(said)

    with answering(give) as server:
        Following(run, server, view).start()
        until("the server is understood again", lambda: not looks, 60)
        run.cancel()
        until("an order that was lost is said", lambda: told("The order could not be passed on"), 60)
        run.cancel()
        assert run.wait(60).state is RunState.STOPPED
    assert told("The run cannot be followed now: ValidationError")
    assert [one for one in asked if one.startswith("POST")] == [
        f"POST /aios/api/runs/{view.id}/stop?kill={kill}" for kill in (0, 1)
    ]
