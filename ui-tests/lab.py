"""Page object: JupyterLab with the AIOS panel, as a person handles it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from live import Server

ROOT = Path(__file__).parent.parent


def browser_path() -> str:
    """An installed Chromium, or the one that scripts/browser.py brings; its words are the error."""
    if named := os.environ.get("AIOS_BROWSER"):
        return named
    found = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "browser.py")], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise RuntimeError(found.stdout + found.stderr)
    return found.stdout.strip().splitlines()[-1]


def lab_server(folder: Path, config: str = "") -> Server:
    """A Lab server that opens no news, offers no updates and lets tests run commands.

    Its front end is the one that was built beside these tests.
    """
    for name in ("config/labconfig", "work", "front"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "front" / "aios-lab").symlink_to(ROOT / "labextension")
    (folder / "config" / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    lab = (
        "c.LabApp.expose_app_in_browser = True\nc.LabApp.extension_manager = 'readonly'\n"
        "c.ServerApp.tornado_settings = {'ws_ping_timeout': 30000}\n"
        f"c.LabApp.extra_labextensions_path = [{str(folder / 'front')!r}]\n"
    )
    return Server(folder, app="lab", config=lab + config)


def card(panel: Locator, notebook: str) -> Locator:
    """The slice of a notebook; others may name it in their reasons."""
    return panel.locator(f'.aios-Slice:has(.aios-Card-name:text-is("{notebook}"))')


class BrowserLab:
    """One tab of JupyterLab."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server

    def open(self, path: str = "") -> BrowserLab:
        tree = f"lab/tree/{path}" if path else "lab"
        self.page.goto(f"{self.server.url}{tree}?token={self.server.token}")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)
        self.page.wait_for_function("() => window.jupyterapp && window.jupyterapp.restored")
        self.page.evaluate("() => window.jupyterapp.restored")
        return self

    def command(self, name: str, args: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            "([name, args]) => { void window.jupyterapp.commands.execute(name, args) }", [name, args or {}]
        )

    def theme(self, name: str) -> BrowserLab:
        """Not while the splash fades: a theme shows it again, and Lab would then remove it twice."""
        splash = self.page.locator("#jupyterlab-splash")
        expect(splash).to_have_count(0, timeout=20_000)
        self.command("apputils:change-theme", {"theme": name})
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")
        expect(splash).to_have_count(0, timeout=20_000)
        return self

    def panel(self) -> Locator:
        """The AIOS panel, opened."""
        self.command("aios:open-panel")
        panel = self.page.locator(".aios-Panel")
        expect(panel).to_be_visible(timeout=20_000)
        return panel

    def notebook(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def ready(self) -> BrowserLab:
        """The open notebook's kernel is idle."""
        self.page.wait_for_function(
            """() => {
                const session = window.jupyterapp.shell.currentWidget?.sessionContext?.session;
                return session?.kernel?.status === "idle";
            }""",
            timeout=60_000,
        )
        return self

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def outputs(self) -> Locator:
        return self.notebook().locator(".jp-OutputArea-output")
