"""Two notebooks and one machine: the one that idles gives way, says so, and is back when it is used."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lab import BrowserLab, card, lab_server
from live import Server, until

CONFIG = """
c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}
c.AIOSLab.idle_after_kernel = c.AIOSLab.idle_after_tasks = c.AIOSLab.idle_after_accelerators = 1
"""
ASK = "import aios_lab as aios; aios.request(workers=2, memory='500MB'); client = aios.client()"
CELLS = (
    f"{ASK}\nclient.wait_for_workers(2)\nkept = client.scatter(list(range(1000)))\nprint('ready')",
    "print('again', client.submit(sum, client.gather(kept)).result())",
)
# A cell that goes on until it is told to end: B's slice is in use.
BUSY = f"{ASK}\nimport os, time\nwhile not os.path.exists('stop'): time.sleep(0.02)"
BACK = 3.0  # seconds in which a slice whose workers were lent has some again


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = lab_server(tmp_path, CONFIG)
    cells = [
        {"cell_type": "code", "id": f"c{n}", "execution_count": None, "source": source}
        | {"metadata": {}, "outputs": []}
        for n, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (running.work / "a.ipynb").write_text(json.dumps(content))
    try:
        yield running.start()
    finally:
        running.stop()


def test_a_idles_b_asks_a_shrinks_b_grows_and_a_comes_back(page: Page, server: Server):
    lab = BrowserLab(page, server).open("a.ipynb")
    panel = lab.panel()
    lab.ready()

    def workers() -> dict[str, int]:
        return {one["name"]: one["workers"] for one in server.get("aios/api/slices")}

    lab.command("notebook:move-cursor-up")
    lab.command("notebook:run-cell-and-select-next")
    expect(lab.outputs().get_by_text("ready")).to_be_visible(timeout=60_000)
    assert workers()["a.ipynb"] == 2

    other = server.kernel("b.ipynb")
    began = time.monotonic()
    other.client.execute(BUSY)
    until("B has grown", lambda: workers()["b.ipynb"] == 2, 60)
    print(f"B had 2 workers {time.monotonic() - began:.2f} s after it asked, most of it A's window of 1 s")
    assert workers()["a.ipynb"] == 0
    notice = lab.outputs().get_by_text(re.compile("This slice has no workers for now"))
    expect(notice).to_be_visible(timeout=20_000)
    expect(notice).to_contain_text("b.ipynb")
    mine = card(panel, "a.ipynb")
    expect(mine.locator(".aios-Chip", has_text="parked")).to_be_visible()
    expect(mine).to_contain_text(re.compile("lent to .*b.ipynb while it did nothing; run a cell"))

    began = time.monotonic()
    lab.command("notebook:run-cell")
    until("A is back", lambda: workers()["a.ipynb"] == 1, every=0.02)
    back = time.monotonic() - began
    expect(lab.outputs().get_by_text("again 499500")).to_be_visible(timeout=20_000)
    print(f"A had a worker again {back:.2f} s after its cell began, and its result after "
          f"{time.monotonic() - began:.2f} s")  # fmt: skip
    assert back < BACK
    until("B gave one back", lambda: workers()["b.ipynb"] == 1)
    expect(lab.outputs().get_by_text(re.compile("has 1 worker again"))).to_be_visible(timeout=20_000)
    expect(mine.locator(".aios-Chip", has_text="active")).to_be_visible(timeout=20_000)
