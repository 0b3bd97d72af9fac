"""Find a Chromium for the browser tests, or bring one; the last line printed is its path.

In this order: ``AIOS_BROWSER``, what was found before, an installed Chromium or Chrome, Playwright's own
download, Debian's package when root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REMEMBERED = Path(sys.prefix) / "browser-path"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
DOWNLOAD_SECONDS = 240
PACKAGE_SECONDS = 900

ASK_PLAYWRIGHT = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


def works(path: str | None) -> bool:
    """Say whether ``path`` is a browser that starts, with all its libraries there."""
    if not path or not os.access(path, os.X_OK):
        return False
    try:
        return (
            subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def remembered() -> str | None:
    return REMEMBERED.read_text().strip() if REMEMBERED.exists() else None


def installed() -> str | None:
    found = (*(shutil.which(name) for name in NAMES), *APPLICATIONS)
    return next((path for path in found if works(path)), None)


def playwrights() -> str | None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK_PLAYWRIGHT], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def download() -> str | None:
    """Playwright's own Chromium, downloaded when it is not there yet."""
    path = playwrights()
    if works(path):
        return path
    _run([sys.executable, "-m", "playwright", "install", "chromium"], DOWNLOAD_SECONDS)
    return playwrights()


def package() -> str | None:
    """Debian's package, which only root may install."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    if _run(["apt-get", "update"], PACKAGE_SECONDS):
        _run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], PACKAGE_SECONDS)
    return installed()


def _run(command: list[str], seconds: float) -> bool:
    """Run and show ``command``; end it with all it started when it takes longer than ``seconds``."""
    print(f"==> {' '.join(command)}", flush=True)
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"    gave up after {seconds:.0f} s", flush=True)
        return False


def main() -> int:
    ways: list[Callable[[], str | None]] = [remembered, installed, download, package]
    named = os.environ.get("AIOS_BROWSER")
    if named is not None:
        ways = [lambda: named]
    for way in ways:
        path = way()
        if path and works(path):
            if named is None:
                REMEMBERED.write_text(path + "\n")
            print(path)
            return 0
    if named is not None:
        print(f"AIOS_BROWSER names {named}, which does not start as a browser.", file=sys.stderr)
    else:
        print(
            "The browser tests need Chromium or Chrome. None is installed, Playwright could not download its "
            "own, and Debian's package could not be installed (that needs root and apt-get). Install one, or "
            "set AIOS_BROWSER to the path of one.",
            file=sys.stderr,
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
