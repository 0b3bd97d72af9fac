"""``python -m benchmarks [NAME …]``: run them all, or those named; print a table and write JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
from pathlib import Path

from benchmarks.figure import HEADINGS, Figure

MODULES = (
    "first_operation",
    "growth",
    "release",
    "idle",
    "kernel_start",
    "train_steps",
    "train_launch",
    "train_metrics",
    "resize",
    "decisions",
    "max_min",
    "simulator",
)
RESULTS = Path(__file__).parent / "results"


def table(figures: list[Figure]) -> str:
    rows = [HEADINGS, *(figure.row() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MODULES], help="all when none is named")
    names = parser.parse_args().names or MODULES
    figures: list[Figure] = []
    for name in names:
        print(f"… {name}", flush=True)
        figures += importlib.import_module(f"benchmarks.{name}").measure()
    RESULTS.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    report = {"time": time.time(), "machine": machine, "figures": [figure.as_json() for figure in figures]}
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(report, indent=1))
    print(f"\n{table(figures)}\n\n{json.dumps(report)}\n\nalso in {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
