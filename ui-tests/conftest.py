"""A real JupyterLab and a real browser. Own pytest run: see pytest.ini."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from lab import browser_path, lab_server
from live import Server

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser_path(),
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        yield running
        running.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = lab_server(tmp_path)
    shutil.copy(ROOT / "examples" / "quickstart.ipynb", running.work)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def page(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab that is closed before its server ends; what the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: complaints.append(f"outside: {r.url}") if _outside(r.url) else None)
    yield page
    if request.node.stash.get(FAILED, False):
        artifacts = Path(__file__).parent / "artifacts"
        artifacts.mkdir(exist_ok=True)
        page.screenshot(path=artifacts / f"{request.node.name}.png")
        (artifacts / f"{request.node.name}.json").write_text(json.dumps(complaints, indent=1))
    allowed = request.node.get_closest_marker("allow_console")
    context.close()
    if allowed is None:
        assert not complaints, complaints


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    outcome = yield
    if call.when == "call":
        item.stash[FAILED] = outcome.get_result().failed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "allow_console: the test makes the browser complain on purpose")


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "about:"))
