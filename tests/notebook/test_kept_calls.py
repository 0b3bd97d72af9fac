"""What is kept of a call that began a run: little, and never at the price of packing all of it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios_lab.notebook import again
from aios_lab.training import Files

CALL: dict[str, Any] = {"function": None, "script": "print(1)", "args": (), "workers": 2, "strategy": "ddp"}
packed: list[int] = []


class Large:
    """A megabyte, and a note that it was packed."""

    def __reduce__(self) -> Any:
        packed.append(1)
        return bytes, (bytes(2**20),)


def test_a_call_that_is_too_large_is_not_packed_to_its_end(tmp_path: Path) -> None:
    packed.clear()
    again.keep(tmp_path, {**CALL, "args": [Large() for _ in range(1000)]})
    assert list(tmp_path.iterdir()) == []
    assert len(packed) <= again.LARGEST / 2**20 + 1


@pytest.mark.parametrize("data", [None, "s3://bucket", Path("train"), ["a.csv", "b.csv"], Files("a.csv")])
def test_data_that_is_files_is_kept(tmp_path: Path, data: Any) -> None:
    again.keep(tmp_path, {**CALL, "data": data})
    call = pickle.loads((tmp_path / again.CALL).read_bytes())
    assert call == {**CALL, "data": data, "source": ""}
    assert (tmp_path / again.CALL).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [np.zeros((1000, 1000)), [Large()], (np.zeros(3), np.zeros(3)), Large()])
def test_other_data_is_neither_kept_nor_packed(tmp_path: Path, data: Any) -> None:
    packed.clear()
    again.keep(tmp_path, {**CALL, "data": data})
    assert (tmp_path / again.CALL).stat().st_size < 10_000
    assert pickle.loads((tmp_path / again.CALL).read_bytes())["data"] == again.Elsewhere(type(data).__name__)
    assert packed == []
