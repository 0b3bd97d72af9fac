"""The published slowdown table, cell by cell, on the traces that it was made of.

They are not ours to hand on: ``AIOS_TRACES=<folder> make soak`` names the folder with lublin_256.swf and
SDSC-SP2-1998-4.2-cln.swf, plain or .gz. The short form, on a trace made up, is in test_protocol.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aios_lab.allocation.simulation import SlowdownTable, evaluate, prepare, read_trace

PUBLISHED = json.loads((Path(__file__).parent / "rlscheduler.json").read_text())
# Utilisation of SJF with backfill: the table prints 0.661, and its authors' code gives 0.66046, as does ours.
MISPRINT = {"SDSC-SP2-1998-4.2-cln": 0.660}
# The published figures of orders that age carry the mistake.
AGE = ("wfp3", "unicep")

pytestmark = pytest.mark.soak


def table(name: str) -> SlowdownTable:
    folder = os.environ.get("AIOS_TRACES")
    if not folder:
        pytest.fail("Name the folder of lublin_256.swf and SDSC-SP2-1998-4.2-cln.swf in AIOS_TRACES.")
    found = [path for path in (Path(folder, f"{name}.swf"), Path(folder, f"{name}.swf.gz")) if path.is_file()]
    if not found:
        pytest.fail(f"There is no {name}.swf, plain or .gz, in {folder}, the folder that AIOS_TRACES names.")
    return evaluate(prepare(read_trace(found[0])), defect=True)


@pytest.mark.parametrize("trace", PUBLISHED["traces"])
def test_every_published_cell(trace: str) -> None:
    """Slowdowns to two decimals and utilisations to three; WFP3 and UNICEP with the mistake and without."""
    measured, published = table(trace), PUBLISHED["traces"][trace]
    expected, found = {}, {}
    for mode in ("none", "backfill"):
        for column, order in enumerate(PUBLISHED["orders"]):
            key, cell = (
                f"{order}, {mode}",
                measured.cell(order, backfill=mode == "backfill", defect=order in AGE),
            )
            assert cell.utilisation is not None
            expected[key] = (published["slowdown"][mode][column], published["utilisation"][mode][column])
            found[key] = (round(cell.slowdown, 2), round(cell.utilisation, 3))
        for order, slowdown in published["right"][mode].items():
            key = f"{order}, {mode}, right"
            expected[key] = slowdown
            found[key] = round(measured.cell(order, backfill=mode == "backfill").slowdown, 2)
    if trace in MISPRINT:
        expected["sjf, backfill"] = (expected["sjf, backfill"][0], MISPRINT[trace])
    assert found == expected
