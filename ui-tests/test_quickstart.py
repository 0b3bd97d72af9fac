"""The quickstart by hand: open it, run it, and do the rest in the panel."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from lab import BrowserLab
from live import Server


def test_a_person_trains_registers_and_compresses(page: Page, server: Server):
    lab = BrowserLab(page, server).open("quickstart.ipynb")
    panel = lab.panel()
    lab.ready()

    mine = panel.locator(".aios-Slice", has_text="quickstart.ipynb")
    expect(mine).to_be_visible()
    expect(mine.locator(".aios-Slice-workers")).to_contain_text("0")
    assert server.get("aios/api/cluster")["used"]["cpus"] == 0

    lab.run_all()
    expect(mine.locator(".aios-Slice-workers")).to_contain_text("2", timeout=60_000)

    display = lab.notebook().locator(".aios-RunOutput")
    expect(display).to_be_visible(timeout=60_000)
    display.scroll_into_view_if_needed()
    expect(display.get_by_role("progressbar")).to_be_visible()
    expect(display.locator(".js-plotly-plot")).to_be_visible(timeout=30_000)
    run = panel.locator(".aios-Run", has_text="digits")
    expect(run).to_contain_text(re.compile("finished", re.IGNORECASE), timeout=120_000)
    losses = server.get("aios/api/runs")[0]["series"]["loss"]
    assert losses[-1]["value"] < losses[0]["value"] / 2

    lab.ready()
    expect(lab.outputs().get_by_text("accuracy on unseen digits")).to_be_visible()

    run.get_by_role("button", name=re.compile("Register")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("by-hand")
    dialog.get_by_role("button", name="Register").click()
    model = panel.locator('.aios-Model[data-name="by-hand"]')
    expect(model).to_be_visible(timeout=30_000)

    model.get_by_role("button", name=re.compile("Compress")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Compress").click()
    report = panel.locator(".aios-Compress-report")
    expect(report).to_be_visible(timeout=60_000)
    expect(report).to_contain_text(re.compile("accuracy", re.IGNORECASE))
    expect(model.locator('.aios-Model-version[data-version="2"]')).to_be_visible()
    versions = {
        v["version"]: v
        for m in server.get("aios/api/models")
        if m["name"] == "by-hand"
        for v in m["versions"]
    }
    assert versions[2]["bytes"] < versions[1]["bytes"]
    assert versions[2]["parent"] == 1
    assert versions[2]["metrics"]["accuracy"] > 0.9
