"""Slices that breathe, as their notebooks see it: notices, callbacks, parking, and coming back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from live import Kernel, Server, serving, until

CONFIG = """
c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}
c.AIOSLab.idle_after_kernel = c.AIOSLab.idle_after_tasks = c.AIOSLab.idle_after_accelerators = 1
c.AIOSLab.grace = 60
"""
ASK = "import aios_lab as aios; aios.request(workers=2, memory='500MB'); client = aios.client()"
# A cell that asks, and that goes on until it is told to end: its slice is in use.
BUSY = f"{ASK}\nimport os, time\nwhile not os.path.exists('stop'): time.sleep(0.02)"
LISTEN = """
events = []
def broken(event):
    raise ValueError("a callback of mine")
aios.on_resize(broken)
forget = aios.on_resize(events.append)
"""


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    with serving(tmp_path, config=CONFIG) as running:
        yield running


def workers(*kernels: Kernel) -> tuple[int, ...]:
    return tuple(kernel.slice()["workers"] for kernel in kernels)


def hears(kernel: Kernel, *words: str) -> Callable[[], str]:
    """Whether the notebook has shown a text with these words, whatever else it showed."""
    heard: list[str] = []

    def look() -> str:
        heard.extend(kernel.shown())
        return next((text for text in heard if all(word in text for word in words)), "")

    return look


def test_an_idle_slice_is_lent_with_a_notice_and_comes_back_with_its_data(server: Server):
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    first.run(ASK)
    first.run(LISTEN)
    until("it has both", lambda: workers(first) == (2,), 30)
    first.run("scattered = client.scatter(list(range(1000))); result = client.submit(sum, range(10))")
    first.run("assert result.result() == 45")
    parked = hears(first, "This slice has no workers for now", "second.ipynb")
    second.client.execute(BUSY)
    until("its workers are lent", lambda: workers(first, second) == (0, 2), 60)
    view = first.slice()
    assert (view["parked"], view["dormant"], view["state"], view["problem"]) == (True, False, "requested", "")
    # Both at once, or one after the other, which was its fair share already: it depends on the moment.
    assert re.search("Parked: its workers? .* lent to .*second.ipynb while it did nothing", view["reason"])
    until("the notebook says so", parked, 30)
    time.sleep(3)  # longer than its windows, and than a tick of the broker: the notice is no use of it
    assert workers(first, second) == (0, 2)

    began = time.monotonic()
    first.run("print(len(client.gather(scattered)), result.result())")
    until("it is back", lambda: workers(first, second) == (1, 1), 30, every=0.01)
    print(f"back after {time.monotonic() - began:.2f} s")
    assert first.run("print(sum(client.gather(scattered)), result.result())").split() == ["499500", "45"]
    assert first.run("print(client.submit(sum, [1, 2]).result())").strip() == "3"
    told = first.run("print(*(f'{one.kind}:{one.after}' for one in events))").split()
    assert told[-4:] == ["shrinking:0", "parked:0", "growing:1", "resumed:1"]
    assert (
        first.run("print(events[0].deadline > 0, 'second.ipynb' in events[0].reason)").strip() == "True True"
    )
    assert "parked" not in first.run("%aios")


def test_a_task_that_is_submitted_to_a_parked_slice_wakes_it(server: Server):
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    first.run(ASK)
    first.run(
        "import os, threading, time\n"
        "found = []\n"
        "def later():\n"
        "    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    found.append(client.submit(sum, [1, 2]).result())\n"
        "thread = threading.Thread(target=later, daemon=True)\n"
        "thread.start()"
    )
    second.client.execute(BUSY)
    until("its workers are lent", lambda: workers(first, second) == (0, 2), 60)
    (server.work / "go").touch()
    until("a task of no cell brings one back", lambda: workers(first, second) == (1, 1), 60)
    assert first.run("thread.join(60); print(found)").strip() == "[3]"


def test_a_busy_slice_gives_its_fair_part_when_its_tasks_are_done(server: Server):
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    first.run(ASK)
    first.run(LISTEN)
    until("it has both", lambda: workers(first) == (2,), 30)
    first.run(
        "import os, time\n"
        "def wait(n):\n"
        "    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    return os.getpid()\n"
        "futures = client.map(wait, range(2))"
    )
    shrinks = hears(first, "This slice shrinks from 2 to 1 worker by", "second.ipynb waits for its share")
    shrunk = hears(first, "This slice has shrunk from 2 to 1 worker")
    second.run("import aios_lab as aios; aios.request(workers=2, memory='500MB')")
    notice = until("the notebook is told before", shrinks, 30)
    assert re.search(r"by \d\d:\d\d:\d\d: ", notice), notice
    assert workers(first, second) == (2, 0), "its tasks have time"
    (server.work / "go").touch()
    until("it has given way", lambda: workers(first, second) == (1, 1), 30)
    until("the same line says so", shrunk, 30)
    assert first.run("print(len(set(client.gather(futures))))").strip() == "2", "no task ran twice"
    told = first.run("print(*(one.kind for one in events))").split()
    assert told == ["shrinking", "shrunk"]
    assert first.run("forget(); forget(); aios.request(workers=1); print(len(events))").endswith("2\n")
