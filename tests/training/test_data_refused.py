"""Data that nobody could train on is refused before anything starts; the message says what is possible."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from aios_lab.training import CannotTrain, Files
from training import datasets, functions
from training.helpers import Train


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


class Locked(datasets.Squares):
    def __init__(self) -> None:
        super().__init__(3)
        self.lock = threading.Lock()


def _files(folder: Path) -> None:
    datasets.write_parquet(folder / "table")
    datasets.write_images(folder / "mixed")
    (folder / "mixed" / "labels.csv").write_text("a\n1\n")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("nothing to train on")
    (folder / "blank.csv").write_text("")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "broken.parquet").write_text("no Parquet")
    (folder / "words.csv").write_text("a,word\n1,x\n")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("nowhere/data.parquet", "nothing at nowhere/data.parquet. Paths are looked up from"),
        ("empty", "no files in"),
        ("notes.txt", r"holds .txt: these are not read. Read are .parquet"),
        ("mixed", r"files of several kinds: .*csv.*Say which: Files\(path, format="),
        ("gopher://old/data.csv", "Protocol not known: gopher"),
        ("oci://bucket/data.parquet", r"oci:// needs a package that is not installed.*ocifs"),
        ("blank.csv", "is empty: it has no columns"),
        ("header.csv", "has no rows"),
        ("broken.parquet", "is no Parquet file"),
        (lambda: Files("table", columns=["id", "y"]), "no column 'y'. It has id, x0, x1, x2, label"),
        (lambda: Files("table", columns=[], target="label"), "no columns are left for the inputs"),
        (lambda: Files("words.csv", target="a"), "'word' holds no numbers"),
        (lambda: Files("table", format="arrow"), "Use one of: parquet, csv, images"),
        (lambda: Files("mixed", format="images", target="a"), "are for tables"),
        (lambda: (np.zeros(3), np.zeros(4)), "array 0 has 3, array 1 has 4"),
        (lambda: {"x": np.zeros(3), "y": np.zeros(4)}, "column 'x' has 3, column 'y' has 4"),
        (lambda: np.zeros((0, 3)), "no rows"),
        (lambda: np.float64(3), "of type float64, which is no kind of data"),
        (lambda: np.array(3), "an array needs rows"),
        (lambda: np.zeros(3, dtype="S3, i4"), "which torch has no type for"),
        (dict, "no columns"),
        (tuple, "no columns"),
        (lambda: pd.DataFrame(index=range(3)), "no columns"),
        (list, "is empty"),
        (lambda: [1, 2], "a list of int. data= takes a path"),
        (lambda: 7, "data is of type int, which is no kind of data"),
        (Endless, "Make it map-style"),
        (lambda: DataLoader(TensorDataset(torch.zeros(3))), "give its dataset"),
        (Locked, r"Locked\) cannot be sent to the ranks: TypeError.*lock"),
        (lambda: datasets.Squares(0), "no samples"),
    ],
)
def test_it_is_refused_with_the_reason(
    start: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any, says: str
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    _files(files)
    monkeypatch.chdir(files)
    with pytest.raises(CannotTrain, match=says):
        start(functions.facts, data=data() if callable(data) else data)
    assert not any((run / "data").exists() for run in tmp_path.glob("r-*"))


def _bad(n: int) -> Any:
    if n == 2:
        raise ArithmeticError("partition two is bad")
    return np.zeros((2, 3))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_bad, "could not be loaded: ArithmeticError: partition two is bad"),
        (lambda n: np.zeros((2, 3 + n % 2)), r"different shapes, such as \(3,\) and \(4,\)"),
        (lambda n: np.zeros(2) if n else (np.zeros(2), np.zeros(2)), "its parts differ"),
        (lambda n: "text", "Partition 0 of the Dask Delayed holds a str, which is no array"),
        (lambda n: np.zeros((0, 3)), "has no rows"),
    ],
)
def test_partitions_are_refused_when_they_are_computed(
    start: Train, tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(CannotTrain, match=says):
        start(functions.facts, data=datasets.delayed(make, 4))
    (run,) = tmp_path.glob("r-*")
    assert not (run / "data").exists()
    assert '"failed"' in (run / "run.json").read_text()


def test_a_script_takes_no_data(start: Train) -> None:
    with pytest.raises(CannotTrain, match="a script opens its own data"):
        start(script="print(1)", data=np.zeros(3))


def test_a_run_without_data_says_how_to_give_it_some(start: Train) -> None:
    def fn(ctx: Any) -> Any:
        return ctx.data

    run = start(fn)
    with pytest.raises(RuntimeError, match=r"this run has no data. Give it some: aios.train"):
        run.wait(60)
