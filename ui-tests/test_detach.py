"""A detached run in the browser: its kernel restarts, its server dies, and each time it is there again."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from playwright.sync_api import Locator, Page, expect

from lab import BrowserLab
from live import Server, until
from test_panel import notebook_of
from test_train import CURVE, TRAIN, run_of

BEGIN = "%%aios train --workers 2 --detach --name long --set epochs=100000 --set pause=0.1\n" + TRAIN
ATTACH = "%aios attach"
FIRST = "node => node.data[0].x[0]"


def notebook(*sources: str) -> str:
    """A notebook with these cells."""
    cells = [json.loads(notebook_of(source))["cells"][0] for source in sources]
    whole = json.loads(notebook_of(""))
    return json.dumps({**whole, "cells": [{**cell, "id": f"c{n}"} for n, cell in enumerate(cells)]})


def goes_on(server: Server, more: int = 10) -> None:
    """The run trains, as the server says."""
    goal = run_of(server)["step"] + more
    until("it trains on", lambda: run_of(server)["step"] >= goal, 60)
    assert run_of(server)["state"] == "running"


def shown_from_its_beginning(lab: BrowserLab) -> Locator:
    """The run as the notebook's newest output draws it."""
    display = lab.notebook().locator(".aios-RunOutput").last
    expect(display.locator(CURVE)).to_be_visible(timeout=60_000)
    expect(display.locator(".aios-Chip")).to_have_text("running", timeout=30_000)
    assert display.locator(CURVE).evaluate(FIRST) == 1
    return display


@pytest.mark.allow_console
def test_a_detached_run_is_taken_up_after_a_restart_of_its_kernel_and_of_the_server(
    page: Page, server: Server
):
    page.on("dialog", lambda dialog: dialog.accept())  # it asks whether to leave what is not saved
    (server.work / "again.ipynb").write_text(notebook(ATTACH))
    (server.work / "train.ipynb").write_text(notebook(BEGIN, ATTACH))
    lab = BrowserLab(page, server).open("train.ipynb")
    lab.ready()
    panel = lab.panel()
    lab.command("notebook:run-cell-and-select-next")
    until("it trains", lambda: [run for run in server.get("aios/api/runs") if run["step"] > 5], 90)

    lab.command("notebook:restart-kernel")
    page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    lab.ready()
    goes_on(server)
    lab.command("notebook:run-cell")
    shown_from_its_beginning(lab)

    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    expect(panel.get_by_role("alert")).to_be_visible(timeout=30_000)
    server.start()
    goes_on(server)
    lab = BrowserLab(page, server).open("again.ipynb")
    lab.ready()
    panel = lab.panel()
    run = panel.locator(".aios-Run", has_text="long")
    expect(run).to_contain_text("running", timeout=30_000)
    lab.command("notebook:run-cell")
    display = shown_from_its_beginning(lab)

    display.get_by_role("button", name=re.compile("^Stop")).click()
    expect(display.locator(".aios-Chip")).to_have_text("stopped", timeout=30_000)
    expect(run).to_contain_text("stopped")
    run.get_by_role("button", name=re.compile("Register")).click()
    name = page.get_by_role("dialog").get_by_role("textbox")
    name.fill("partly-trained")
    name.press("Enter")
    expect(panel.locator('.aios-Model[data-name="partly-trained"]')).to_be_visible(timeout=30_000)
    until("nothing is held", lambda: server.get("aios/api/cluster")["used"]["cpus"] == 0, 30)
