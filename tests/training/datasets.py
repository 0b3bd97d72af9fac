"""Data that the tests train on, made anew for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 60


def columns() -> dict[str, Any]:
    """Whole numbers, others, some missing, words and times."""
    count = np.arange(ROWS)
    some = np.where(count % 7 == 0, np.nan, count / 2)
    return {"a": count, "b": count * 0.5, "some": some, "word": [f"w{n}, “{n % 5}”\n" for n in count]}


def frame() -> pd.DataFrame:
    return pd.DataFrame({**columns(), "when": pd.to_datetime(np.arange(ROWS), unit="D")})


def write_parquet(folder: Path, files: int = 2, group: int = 5, rows: int = ROWS) -> Path:
    """Files of equal length with a row group for each ``group`` rows; column ``id`` numbers them all."""
    folder.mkdir(parents=True)
    each = rows // files
    for n in range(files):
        ids = np.arange(n * each, (n + 1) * each)
        noise = {f"x{k}": np.random.default_rng([n, k]).random(each, dtype=np.float32) for k in range(3)}
        part = pd.DataFrame({"id": ids, **noise, "label": ids % 3})
        part.to_parquet(folder / f"part-{n}.parquet", row_group_size=group)
    return folder


def write_csv(folder: Path, files: int = 3) -> Path:
    folder.mkdir(parents=True)
    each = ROWS // files
    for n in range(files):
        ending = "csv.gz" if n == 1 else "csv"
        frame()[n * each : (n + 1) * each].to_csv(folder / f"part-{n}.{ending}", index=False)
    return folder


def write_images(folder: Path) -> Path:
    """Six images of each of two classes; the red of one is its number."""
    from PIL import Image

    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for n in range(6):
            Image.new("RGB", (4, 3), (n * 20, 0, 255)).save(folder / label / f"{n}.png")
    return folder


class Squares:
    """A dataset that makes its samples, as users write them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, index * index


def delayed(make: Callable[[int], Any], count: int) -> list[Any]:
    from dask.delayed import delayed as later

    return [later(make)(n) for n in range(count)]
