"""What the panel says and does besides the quickstart."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from lab import BrowserLab, card
from live import Server, until

ASK = 'import aios_lab as aios; aios.request(workers={}, memory="500MB"); client = aios.client()'


def test_empty_states_teach(page: Page, server: Server):
    panel = BrowserLab(page, server).open().panel()
    expect(panel).to_contain_text("%%aios train")
    expect(panel).to_contain_text("CPU")


def test_the_later_notebook_sees_why_it_waits_and_grows_without_a_click(page: Page, server: Server):
    total = int(server.get("aios/api/cluster")["capacity"]["cpus"])
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    first.run(ASK.format(total))
    panel = BrowserLab(page, server).open().panel()
    mine = card(panel, "second.ipynb")
    second.run(ASK.format(total))
    expect(mine.locator(".aios-Slice-reason")).to_contain_text("first.ipynb", timeout=20_000)
    server.fetch("DELETE", f"api/kernels/{first.id}")
    expect(mine.locator(".aios-Slice-workers")).to_contain_text(f"{total}/{total}", timeout=20_000)
    expect(mine.locator(".aios-Slice-reason")).to_have_count(0)


def test_a_waiting_slice_says_when_it_starts_and_what_would_start_now(page: Page, server: Server):
    total = int(server.get("aios/api/cluster")["capacity"]["cpus"])
    whole = (
        "import aios_lab as aios; "
        f"aios.request(workers={total}, min_workers={total}, memory='500MB', duration=3600); 1"
    )
    first, second = server.kernel("first.ipynb"), server.kernel("second.ipynb")
    first.run(f"import aios_lab as aios; aios.request(workers={total - 1}, min_workers={total - 1}, "
              "memory='500MB', cpus=1, duration=3600); client = aios.client()")  # fmt: skip
    until("it holds its workers", lambda: first.slice()["workers"] == total - 1, 60)
    panel = BrowserLab(page, server).open().panel()
    second.run(whole)
    mine = card(panel, "second.ipynb")
    expect(mine.locator(".aios-Slice-reason")).to_contain_text("first.ipynb", timeout=20_000)
    when = mine.locator(".aios-Forecast-when")
    expect(when).to_contain_text(re.compile(r"starts about|No forecast yet"), timeout=20_000)

    mine.get_by_text("What if…").click()
    form = mine.get_by_role("form", name=re.compile("What if"))
    workers = form.get_by_label("Workers")
    workers.fill("1")
    workers.press("Enter")
    answer = form.locator(".aios-WhatIf-answer")
    expect(answer).to_contain_text("1 would start now.", timeout=10_000)
    assert second.slice()["max_workers"] == total, "nothing was asked for"
    answer.get_by_role("button", name="Request this").click()
    until("it has one", lambda: second.slice()["target"] == 1, 20)
    expect(mine.locator(".aios-Forecast")).to_have_count(0)


def test_resize_and_release_from_the_panel(page: Page, server: Server):
    kernel = server.kernel("work.ipynb")
    kernel.run(ASK.format(1))
    panel = BrowserLab(page, server).open().panel()
    mine = card(panel, "work.ipynb")
    mine.get_by_role("button", name=re.compile("Resize")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(re.compile("Workers")).fill("2")
    dialog.get_by_role("button", name="Resize").click()
    until("it grew", lambda: kernel.slice()["workers"] == 2)
    expect(mine.locator(".aios-Slice-workers")).to_contain_text("2")
    mine.get_by_role("button", name=re.compile("Release")).click()
    confirm = page.get_by_role("dialog").get_by_role("button", name="Release")
    confirm.click()
    until("it gave them back", lambda: kernel.slice()["workers"] == 0)


def test_stop_button_in_the_cell_ends_the_run_in_two_seconds(page: Page, server: Server):
    (server.work / "long.ipynb").write_text(notebook_of(LONG_RUN))
    lab = BrowserLab(page, server).open("long.ipynb")
    lab.ready()
    lab.run_all()
    display = lab.notebook().locator(".aios-RunOutput")
    stop = display.get_by_role("button", name=re.compile("Stop"))
    expect(stop).to_be_enabled(timeout=60_000)
    until("it trains", lambda: server.get("aios/api/runs")[0]["step"] > 3, 30)
    stop.click()
    until("it stopped", lambda: server.get("aios/api/runs")[0]["state"] == "stopped", 4)
    expect(display).to_contain_text(re.compile("stopped", re.IGNORECASE))


@pytest.mark.allow_console
def test_the_panel_recovers_when_the_server_restarts(page: Page, server: Server):
    panel = BrowserLab(page, server).open().panel()
    expect(panel).to_contain_text("CPU")
    server.kill()
    expect(panel.get_by_role("alert")).to_be_visible(timeout=30_000)
    until("the old processes are gone", lambda: not server.processes(), 15)
    server.start()
    expect(panel.get_by_role("alert")).to_have_count(0, timeout=60_000)
    server.kernel("after.ipynb")
    expect(panel.locator(".aios-Slice", has_text="after.ipynb")).to_be_visible(timeout=30_000)


def test_dark_theme_is_legible(page: Page, server: Server):
    lab = BrowserLab(page, server).open().theme("JupyterLab Dark")
    panel = lab.panel()
    color, background = panel.evaluate(
        "node => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]"
    )
    light = [int(part) for part in re.findall(r"\d+", color)[:3]]
    assert min(light) > 150, (color, background)


THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")
STATES = (
    "requested granted active resizing draining failed asleep parked busy "
    "pending queued running resizing recovering waiting stopping finished stopped new"
)
CONTRASTS = """(panel, states) => {
    const canvas = document.createElement("canvas").getContext("2d");
    const light = (...colors) => {
        for (const color of colors) {
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part =>
            part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const card = panel.appendChild(document.createElement("section"));
    card.className = "aios-Card";
    const back = getComputedStyle(card).backgroundColor;
    const ratio = name => {
        const word = card.appendChild(document.createElement("span"));
        word.className = name;
        const [a, b] = [light(back), light(back, getComputedStyle(word).color)].sort((x, y) => x - y);
        return b / a;
    };
    const names = [...states.split(" ").map(state => "aios-Chip aios-mod-" + state),
        "aios-Badge aios-mod-simulated", "aios-Faint", "aios-Rule", "aios-Forecast-when"];
    const found = names.map(name => [name, ratio(name)]);
    card.remove();
    return Object.fromEntries(found);
}"""


@pytest.mark.parametrize("theme", THEMES)
def test_small_words_stand_out_from_their_background(page: Page, server: Server, theme: str):
    panel = BrowserLab(page, server).open().theme(theme).panel()
    ratios = panel.evaluate(CONTRASTS, STATES)
    print(theme, {name.split("-")[-1]: round(ratio, 1) for name, ratio in ratios.items()})
    assert min(ratios.values()) >= 4.5, ratios  # WCAG AA for text of this size


def test_the_slice_of_the_notebook_in_front_is_in_sight(page: Page, server: Server):
    (server.work / "zebra.ipynb").write_text(notebook_of("1"))
    for name in "abcdef":
        server.kernel(f"{name}.ipynb")
    lab = BrowserLab(page, server).open("zebra.ipynb")
    lab.ready()
    panel = lab.panel()
    front = panel.locator(".aios-Slice").first
    expect(front).to_contain_text("zebra.ipynb")
    expect(front).to_have_attribute("aria-current", "true")
    expect(front).to_be_in_viewport(ratio=0.9)
    cluster = panel.locator(".aios-Section-cluster")
    spare = "node => node.clientHeight - node.querySelector('.aios-Body').offsetHeight"
    until("no room is left empty where another section lacks it", lambda: abs(cluster.evaluate(spare)) <= 2)
    box = panel.locator(".lm-SplitPanel-handle:not(.lm-mod-hidden)").first.bounding_box()
    assert box is not None
    x, y = box["x"] + 40, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 60, steps=4)
    page.mouse.up()
    server.kernel("g.ipynb")
    expect(panel.locator(".aios-Slice")).to_have_count(8)
    assert cluster.evaluate(spare) > 40  # a border that a person moved stays where it is


def test_what_would_have_happened_stands_beside_what_did(page: Page, server: Server):
    panel = BrowserLab(page, server).open().panel()
    panel.get_by_role("button", name="What would have happened").click()
    tab = page.locator(".aios-ReplayPage")
    again = tab.get_by_role("button", name="Play it again")
    again.click()
    expect(tab.locator(".aios-Replay")).to_contain_text("Nobody used a slice", timeout=60_000)
    kernel = server.kernel("work.ipynb")
    kernel.run(ASK.format(1))
    tab.get_by_role("checkbox", name="sjf", exact=True).check()
    again.click()
    rows = tab.locator(".aios-Replay-table tbody tr")
    expect(rows).to_have_count(4, timeout=60_000)
    expect(rows.first).to_contain_text("as it was")
    expect(rows.last).to_contain_text("sjf")
    plot = tab.locator(".aios-Replay-result .aios-Plot")
    plot.scroll_into_view_if_needed()
    expect(tab.locator(".aios-Replay-result .js-plotly-plot")).to_be_visible(timeout=30_000)
    tab.locator(".aios-Replay-view select").select_option("shares")
    expect(tab.locator(".aios-Replay-result .aios-Plot")).to_have_attribute(
        "aria-label", re.compile("My share")
    )


LONG_RUN = """%%aios train --workers 1 --name long
import time

def train(ctx):
    for step in range(100000):
        time.sleep(0.02)
        ctx.report(loss=1 / (step + 1))
"""


def notebook_of(source: str) -> str:
    cell = {
        "cell_type": "code",
        "id": "a",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
