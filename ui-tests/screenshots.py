"""``make screenshots``: run the quickstart in a real Lab and take the pictures of the docs."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from lab import ROOT, BrowserLab, browser_path, lab_server
from live import Server, until

IMAGES = ROOT / "docs" / "images"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def settle(lab: BrowserLab) -> None:
    """Run the quickstart beside the panel up to where it gives its workers back."""
    lab.panel()
    lab.ready()
    lab.page.evaluate(
        "() => { const notebook = window.jupyterapp.shell.currentWidget.content;"
        " notebook.activeCellIndex = notebook.widgets.length - 1 }"
    )
    lab.command("notebook:run-all-above")
    until(
        "the compressed model",
        lambda: any(len(m["versions"]) >= 2 for m in lab.server.get("aios/api/models")),
        180,
    )
    lab.ready()


def shoot(page: Page, lab: BrowserLab, name: str) -> None:
    for suffix, theme in THEMES.items():
        lab.theme(theme)
        page.wait_for_timeout(600)
        page.screenshot(path=IMAGES / f"{name}-{suffix}.png")


def waiting(server: Server) -> None:
    """Another notebook asks for all there is, and the two share it."""
    total = int(server.get("aios/api/cluster")["capacity"]["cpus"])
    server.kernel("survey.ipynb").run(
        f'import aios_lab as aios; aios.request(workers={total}, memory="500MB"); client = aios.client()'
    )


def replay(lab: BrowserLab) -> None:
    """What has been used so far, under other policies."""
    lab.command("aios:open-replay")
    tab = lab.page.locator(".aios-ReplayPage")
    tab.get_by_role("checkbox", name="sjf", exact=True).check()
    tab.get_by_role("button", name="Play it again").click()
    expect(tab.locator(".js-plotly-plot")).to_be_visible(timeout=60_000)
    tab.locator(".aios-Replay-view select").select_option("use")


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aios-shots-") as folder, sync_playwright() as playwright:
        server = lab_server(Path(folder))
        shutil.copy(ROOT / "examples" / "quickstart.ipynb", server.work)
        browser = playwright.chromium.launch(
            executable_path=browser_path(),
            args=["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
        )
        try:
            server.start()
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            lab = BrowserLab(page, server).open("quickstart.ipynb")
            settle(lab)
            run = lab.notebook().locator(".aios-RunOutput")
            run.scroll_into_view_if_needed()
            expect(run.locator(".js-plotly-plot")).to_be_visible(timeout=30_000)
            shoot(page, lab, "lab")
            waiting(server)
            reason = page.locator(".aios-Panel .aios-Slice-reason").first
            expect(reason).to_contain_text(re.compile("hold"), timeout=30_000)
            shoot(page, lab, "waiting")
            replay(lab)
            shoot(page, lab, "replay")
        finally:
            server.stop()
            browser.close()


if __name__ == "__main__":
    main()
