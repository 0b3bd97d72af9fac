"""From a cell to a registered model by hand: the dialog, the curve, what the panel says, and Register."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from lab import BrowserLab
from live import Server, until
from test_panel import notebook_of

TRAIN = """import torch
from torch import nn

def train(ctx, epochs=1, pause=0.05):
    import time
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    ctx.progress(total_epochs=epochs)
    for epoch in range(epochs):
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ctx.report(epoch=epoch, loss=loss.item())
            time.sleep(pause)
    print("rank", ctx.rank, "is done")
    ctx.save_model(model, example=x[:1])
"""
NOTEBOOK = "window.jupyterapp.shell.currentWidget.content"
LINES = f"() => {NOTEBOOK}.activeCell.model.sharedModel.getSource().split('\\n')"
CURVE = ".js-plotly-plot"
POINTS = "node => node.data[0].x.length"


def opened(page: Page, server: Server, source: str) -> BrowserLab:
    """A notebook with one cell, its kernel ready."""
    (server.work / "train.ipynb").write_text(notebook_of(source))
    lab = BrowserLab(page, server).open("train.ipynb")
    lab.ready()
    return lab


def dialog_of(lab: BrowserLab) -> Locator:
    """The dialog that the cell's toolbar opens."""
    lab.notebook().locator(".cm-content").first.click()
    button = (
        lab.notebook()
        .locator(".jp-cell-toolbar")
        .get_by_role("button", name=re.compile("Train on Slice|how to train"))
    )
    expect(button).to_be_visible(timeout=20_000)
    button.click()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog).to_be_visible(timeout=20_000)
    return dialog


def run_of(server: Server) -> dict:
    return server.get("aios/api/runs")[0]


def test_a_person_trains_a_cell_with_the_dialog_and_registers_the_result(page: Page, server: Server):
    lab = opened(page, server, TRAIN)
    panel = lab.panel()
    dialog = dialog_of(lab)
    dialog.get_by_label("Workers").fill("2")
    dialog.get_by_label("Epochs").fill("6")
    dialog.get_by_label("Strategy").select_option("ddp")
    expect(dialog.locator(".aios-Train-line")).to_have_text("%%aios train --workers 2 --set epochs=6")
    dialog.get_by_role("button", name="Write line").click()
    expect(dialog).to_have_count(0)
    assert page.evaluate(LINES)[0] == "%%aios train --workers 2 --set epochs=6"

    again = dialog_of(lab)  # the dialog knows the line, and changes it instead of writing another
    expect(again.get_by_label("Workers")).to_have_value("2")
    again.get_by_label("Epochs").fill("8")
    again.get_by_label("Epochs").press("Enter")
    expect(again).to_have_count(0)
    assert page.evaluate(LINES)[0] == "%%aios train --workers 2 --set epochs=8"
    assert [line for line in page.evaluate(LINES) if line.startswith("%%")] == page.evaluate(LINES)[:1]

    lab.run_all()
    display = lab.notebook().locator(".aios-RunOutput")
    expect(display.locator(CURVE)).to_be_visible(timeout=90_000)
    expect(display.locator(".aios-Chip")).to_have_text("finished", timeout=90_000)
    assert display.locator(f"{CURVE} .scatterlayer .trace").count() == 2, "the loss, and how fast it was"
    run = run_of(server)
    assert (run["state"], run["world_size"], run["epoch"]) == ("finished", 2, 7)
    assert run["parameters"] == {"epochs": 8}

    display.get_by_text("Log", exact=True).click()
    display.locator("select[name=rank]").select_option("1")
    expect(display.get_by_role("log", name="Log of rank 1")).to_have_text("rank 1 is done")

    register = display.get_by_role("button", name=re.compile("Register"))
    register.focus()
    page.keyboard.press("Enter")
    name = page.get_by_role("dialog").get_by_role("textbox")
    name.fill("from-a-cell")
    name.press("Enter")
    expect(panel.locator('.aios-Model[data-name="from-a-cell"]')).to_be_visible(timeout=30_000)


def test_two_runs_stand_beside_each_other(page: Page, server: Server):
    lab = opened(page, server, TRAIN)
    kernel = server.kernel("runs.ipynb")
    for epochs in (2, 3):
        kernel.run(f"%%aios train --workers 1 --name run{epochs} --set epochs={epochs}\n{TRAIN}")
    panel = lab.panel()
    panel.get_by_role("button", name="Compare runs…").click()
    tab = page.locator(".aios-Compare")
    expect(tab.locator(f"{CURVE} .scatterlayer .trace")).to_have_count(2, timeout=30_000)
    row = tab.get_by_role("row", name=re.compile("^epochs"))
    expect(row).to_contain_text("which differs")
    expect(row.get_by_role("cell")).to_have_text(["3", "2"])
    tab.get_by_role("checkbox", name=re.compile("run2")).uncheck()
    expect(tab.locator(f"{CURVE} .scatterlayer .trace")).to_have_count(1)


COUNT = """%%aios train --workers 1 --name counting
def count(ctx):
    state = ctx.resume() or {"next": 0}
    for number in range(state["next"], 5):
        ctx.report(step=number, value=number)
        ctx.checkpoint(next=number + 1)
"""


def test_a_run_is_resumed_from_a_checkpoint_with_a_button(page: Page, server: Server):
    lab = opened(page, server, COUNT)
    lab.panel()
    lab.run_all()
    first = lab.notebook().locator(".aios-RunOutput").first
    expect(first.locator(".aios-Chip")).to_have_text("finished", timeout=90_000)
    begun = run_of(server)
    step = begun["checkpoints"][0]["step"]
    first.get_by_text(re.compile("^Checkpoints")).click()
    first.get_by_role("button", name=f"Resume counting ({begun['id']}) from step {step}", exact=True).click()
    second = lab.notebook().locator(".aios-RunOutput").nth(1)
    expect(second.locator(".aios-Chip")).to_have_text("finished", timeout=90_000)
    expect(second).to_contain_text(f"from step {step} of {begun['id']}")
    line = f"%aios resume {begun['id']} --step {step}"
    expect(lab.notebook().locator(".cm-content", has_text=line)).to_have_count(1)
    values = run_of(server)["series"]["value"]
    assert [point["step"] for point in values] == list(range(step + 1, 5))


def test_a_resize_is_marked_on_the_curve(page: Page, server: Server):
    line = "%%aios train --workers 2 --name shrinking --set epochs=400 --set pause=0.05\n"
    lab = opened(page, server, line + TRAIN)
    lab.panel()
    lab.run_all()
    until("it trains", lambda: [run for run in server.get("aios/api/runs") if run["step"] > 5], 90)
    slice_id = run_of(server)["slice_id"]
    server.fetch("PATCH", f"aios/api/slices/{slice_id}", {"workers": 1})
    display = lab.notebook().locator(".aios-RunOutput")
    curve = display.locator(CURVE)
    expect(curve).to_be_visible(timeout=60_000)
    drawn = curve.evaluate(POINTS)
    until("the curve grows while it trains", lambda: curve.evaluate(POINTS) > drawn, 30)
    expect(display).to_contain_text("1 resize", timeout=60_000)
    expect(display.locator(f"{CURVE} .textpoint")).to_contain_text("2→1", timeout=30_000)
    resizes = until("its record has it too", lambda: run_of(server)["resizes"])
    assert [(one["before"], one["after"]) for one in resizes] == [(2, 1)]
    display.get_by_text("Resizes (1)").click()
    expect(display.locator(".aios-Resizes")).to_contain_text(f"step {resizes[0]['step']}")
    display.get_by_role("button", name=re.compile("^Stop")).click()
    expect(display.locator(".aios-Chip")).to_have_text("stopped", timeout=30_000)
    assert run_of(server)["has_model"], "what it has learned is kept"
    expect(display.get_by_role("button", name=re.compile("Register"))).to_be_visible()
