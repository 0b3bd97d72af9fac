"""Run lint and the test suites named, in this order and whatever fails; close with one table and the sums.

Called by ``make test`` and ``make lint``, inside the environment. Tests of whole servers mostly wait for
processes to start: two suites at a time take little more than half of the time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

LINT = {
    "ruff": ["ruff", "check", "--quiet", "."],
    "ruff format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy"],
    "layers": ["lint-imports"],
    "wire types": [sys.executable, "scripts/wire_types.py", "--check"],
    "TypeScript": ["jlpm", "lint:types"],
    "eslint": ["jlpm", "lint:js"],
    "stylelint": ["jlpm", "lint:style"],
    "prettier": ["jlpm", "lint:format"],
}
SUITES = {
    "system": [sys.executable, "-m", "pytest", "tests/system", "--junitxml={report}"],
    "vitest": ["jlpm", "test", "--reporter=default", "--reporter=junit", "--outputFile.junit={report}"],
    "browser": [sys.executable, "-m", "pytest", "--rootdir=ui-tests", "-c", "ui-tests/pytest.ini", "ui-tests",
                "--junitxml={report}"],
    "pytest": [sys.executable, "-m", "pytest", "--ignore=tests/system", "--junitxml={report}"],
}  # fmt: skip

ALONE = {"pytest"}  # keeps both cores busy by itself


@dataclass(frozen=True)
class Outcome:
    name: str
    code: int
    seconds: float
    tests: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def good(self) -> bool:
        """A suite that ran no test proves nothing."""
        return self.code == 0 and (self.name in LINT or self.tests > 0)

    def row(self) -> str:
        count = f"{self.tests} tests" if self.name in SUITES else ""
        trouble = f"{self.failed} failed" if self.failed else ""
        verdict = "ok" if self.good else "FAILED"
        return f"{verdict:8}{self.name:14}{self.seconds:6.0f} s  {count:12}{trouble}".rstrip()


def run(name: str, command: Sequence[str]) -> Outcome:
    """Run one check, showing what it prints, each line with its name."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        filled = [part.format(report=report) for part in command]
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        with subprocess.Popen(filled, cwd=ROOT, text=True, errors="replace", **pipes) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{name:11} | {line}", end="", flush=True)
        return Outcome(name, process.returncode, time.monotonic() - begun, *_counts(report))


def run_all(what: str) -> list[Outcome]:
    """Run a suite, or lint."""
    checks = LINT if what == "lint" else {what: SUITES[what]}
    return [run(name, command) for name, command in checks.items()]


def _counts(report: Path) -> tuple[int, int, int]:
    """Return tests, failed and skipped ones of a JUnit report; zeros when the suite wrote none."""
    if not report.exists():
        return 0, 0, 0
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))

    def total(*keys: str) -> int:
        return sum(int(suite.get(key, 0)) for suite in suites for key in keys)

    return total("tests"), total("failures", "errors"), total("skipped")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", choices=["lint", *SUITES])
    wanted = parser.parse_args().what
    os.environ["PYTHONUNBUFFERED"] = "1"
    beside = [what for what in wanted if what not in ALONE]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        outcomes = [outcome for done in pool.map(run_all, beside) for outcome in done]
    outcomes += [outcome for what in wanted if what in ALONE for outcome in run_all(what)]
    print("\n=== summary", *(outcome.row() for outcome in outcomes), sep="\n")
    tests, failed, skipped = (
        sum(getattr(o, key) for o in outcomes) for key in ("tests", "failed", "skipped")
    )
    if tests:
        more = f", {skipped} skipped" if skipped else ""
        print(f"{tests - failed - skipped} passed, {failed} failed{more}", flush=True)
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
