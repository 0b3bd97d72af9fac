"""Every kind of data, prepared on a real cluster and opened as a rank does: right samples, and a digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch
from distributed import Client
from torch.utils.data import DataLoader, TensorDataset

from aios_lab.training import Files
from aios_lab.training.data import Source, Workshop
from aios_lab.training.data.files import without_secrets
from aios_lab.training.data.find import look
from training import datasets
from training.datasets import ROWS

Prepare = Callable[[Any], Source]


@pytest.fixture
def prepare(client: Client, tmp_path: Path) -> Prepare:
    said: list[str] = []

    def prepare(data: Any) -> Source:
        workshop = Workshop(tmp_path / f"prepared-{len(said)}", client, said.append)
        said.append("")
        return look(data).prepare(workshop)

    return prepare


def _all(source: Source) -> list[Any]:
    data = source.open(0, 1)
    assert len(data) == source.describe().rows
    return [data[n] for n in range(len(data))]


def _make(n: int) -> tuple[Any, Any]:
    return np.full((4, 2), n, dtype=np.float32), np.arange(4) + 4 * n


X, Y = np.random.default_rng(0).random((ROWS, 3)), np.arange(ROWS)


def _dask_arrays() -> tuple[Any, Any]:
    import dask.array as da

    return da.from_array(X, chunks=(13, 2)), da.from_array(Y, chunks=20)


@pytest.mark.parametrize(
    "data",
    [
        lambda: (X, Y),
        lambda: {"x": X, "y": Y},
        lambda: (torch.from_numpy(X), torch.from_numpy(Y)),
        lambda: TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        lambda: (pd.DataFrame(X), pd.Series(Y)),
        _dask_arrays,
        lambda: (_dask_arrays()[0], Y),
    ],
    ids=["arrays", "dict", "tensors", "TensorDataset", "pandas", "Dask", "Dask and NumPy"],
)
def test_arrays_in_any_dress_give_the_rows_that_they_hold(prepare: Prepare, data: Callable[[], Any]) -> None:
    source = prepare(data())
    for n, sample in enumerate(_all(source)):
        x, y = sample.values() if isinstance(sample, dict) else sample
        assert torch.equal(x, torch.from_numpy(X[n]))
        assert int(y) == n
        assert (x.dtype, y.dtype) == (torch.float64, torch.int64)
    again = prepare(data())
    assert str(again.digest()) == str(source.digest())
    assert str(source.digest()).startswith("sha256:")


def test_one_changed_number_changes_the_digest(prepare: Prepare) -> None:
    changed = X.copy()
    changed[-1, -1] += 1e-12
    assert prepare((X, Y)).digest() != prepare((changed, Y)).digest()


def test_one_array_has_samples_of_one_value_in_loaders_too(prepare: Prepare) -> None:
    data = prepare(X).open(0, 1)
    assert data[-1].tolist() == X[-1].tolist()
    with pytest.raises(IndexError):
        data[ROWS]
    for workers in (0, 2):
        batches = list(DataLoader(data, batch_size=25, num_workers=workers))
        assert torch.cat(batches).tolist() == X.tolist()
        assert [len(batch) for batch in batches] == [25, 25, 10]


def test_bags_and_lists_of_delayed_keep_their_order(prepare: Prepare) -> None:
    import dask.bag as db

    bag = db.from_sequence([{"n": n, "text": "x" * n} for n in range(10)], npartitions=3)
    assert _all(prepare(bag)) == [{"n": n, "text": "x" * n} for n in range(10)]
    samples = _all(prepare(datasets.delayed(_make, 5)))
    assert [int(y) for _, y in samples] == list(range(20))
    assert [x[0].item() for x, _ in samples] == [n // 4 for n in range(20)]


def test_what_the_cluster_holds_already_is_data_too(prepare: Prepare, client: Client) -> None:
    futures = client.map(_make, range(3), pure=False)
    assert [int(y) for _, y in _all(prepare(futures))] == list(range(12))


def _same_as_the_frame(samples: list[dict[str, Any]], when: bool = True) -> None:
    expected = datasets.columns()
    assert len(samples) == ROWS
    for n, sample in enumerate(samples):
        assert (int(sample["a"]), sample["b"].item(), sample["word"]) == (n, n / 2, expected["word"][n])
        assert sample["a"].dtype is torch.int64
        assert sample["some"].isnan() if n % 7 == 0 else sample["some"].item() == n / 2
        if when:
            assert sample["when"].item() == n * 86400


def test_tables_give_a_dict_of_their_columns(prepare: Prepare, tmp_path: Path) -> None:
    import dask.dataframe as dd

    frame = datasets.frame()
    _same_as_the_frame(_all(prepare(frame)))
    _same_as_the_frame(_all(prepare(dd.from_pandas(frame, npartitions=3))))
    frame.to_parquet(tmp_path / "one.parquet", row_group_size=7)
    _same_as_the_frame(_all(prepare(str(tmp_path / "one.parquet"))))
    source = prepare(datasets.write_csv(tmp_path / "csv"))
    _same_as_the_frame(_all(source), when=False)
    assert source.describe().kind == "CSV"
    assert str(source.digest()).startswith("sha256:")


def test_with_a_target_a_sample_is_inputs_and_target(prepare: Prepare, tmp_path: Path) -> None:
    folder = datasets.write_parquet(tmp_path / "table")
    columns = ["x0", "x2"]
    for path, kind in ((folder, "Parquet"), (folder / "part-*.parquet", "Parquet")):
        source = prepare(Files(path, columns=columns, target="label"))
        assert source.describe().kind == kind
        inputs, target = source.open(0, 1)[17]
        assert (inputs.shape, inputs.dtype, int(target)) == ((2,), torch.float32, 17 % 3)
    table = pd.read_parquet(folder)
    table.to_csv(tmp_path / "table.csv", index=False)
    found = prepare(Files(tmp_path / "table.csv", columns=columns, target="label")).open(0, 1)[17]
    assert torch.allclose(found[0], torch.tensor(table.loc[17, columns].to_numpy(dtype=np.float32)))
    assert found[1].dtype is torch.int64


def test_columns_whose_kind_differs_from_part_to_part_become_one_kind(
    prepare: Prepare, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("n,text,gap\n1,,\n2,,\n")
    (tmp_path / "b.csv").write_text("n,text,gap\n0.5,word,7\n")
    samples = _all(prepare(tmp_path))
    assert [s["n"].item() for s in samples] == [1, 2, 0.5]
    assert [s["text"] for s in samples] == [None, None, "word"]
    assert [s["gap"].isnan().item() for s in samples] == [True, True, False]
    for n, numbers in enumerate(([1, 2], [3, None])):
        table = pd.DataFrame({"n": pd.array(numbers, dtype="Int64")})
        (tmp_path / "p").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "p" / f"{n}.parquet")
    values = torch.stack([s["n"] for s in _all(prepare(tmp_path / "p"))])
    assert values.dtype is torch.float64
    assert values.tolist()[:3] == [1, 2, 3]
    assert values[3].isnan()


def test_images_come_with_the_number_of_their_folder(prepare: Prepare, tmp_path: Path) -> None:
    source = prepare(datasets.write_images(tmp_path / "pets"))
    data = source.open(0, 1)
    assert data.classes == ["cat", "dog"]
    assert [label for _, label in data] == [0] * 6 + [1] * 6
    image, _ = data[8]
    assert (image.shape, image.dtype) == ((3, 3, 4), torch.float32)
    assert image[:, 0, 0].tolist() == pytest.approx([40 / 255, 0, 1])
    small = prepare(Files(tmp_path / "pets", size=(2, 5))).open(0, 1)
    assert small[0][0].shape == (3, 2, 5)
    alone = prepare(str(tmp_path / "pets" / "dog")).open(0, 1)
    assert alone[3].shape == (3, 3, 4)


def test_files_that_only_the_kernel_sees_reach_the_ranks(prepare: Prepare) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/tables/one.csv", b"a,b\n1,2\n3,4\n")
    source = prepare("memory://tables")
    assert [int(sample["b"]) for sample in _all(source)] == [2, 4]
    datasets_folder = "memory://pictures/cat"
    with fsspec.open(f"{datasets_folder}/0.png", "wb") as file:
        from PIL import Image

        Image.new("RGB", (2, 2)).save(file, format="png")
    image, label = prepare("memory://pictures").open(0, 1)[0]
    assert (image.shape, label) == ((3, 2, 2), 0)


def test_a_files_digest_changes_with_the_files(prepare: Prepare, tmp_path: Path) -> None:
    folder = datasets.write_parquet(tmp_path / "table")
    before = prepare(folder).digest()
    assert before.by == "files-time"
    assert prepare(str(folder)).digest() == before
    pd.read_parquet(folder / "part-0.parquet").assign(label=9).to_parquet(folder / "part-0.parquet")
    assert prepare(folder).digest() != before


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://me:word@host:8/a/b.csv?signature=x#y", "https://host:8/a/b.csv"),
        ("s3://bucket/a@b/*.parquet", "s3://bucket/a@b/*.parquet"),
        ("/data/what?.csv", "/data/what?.csv"),
    ],
)
def test_the_record_has_no_passwords_and_signatures(given: str, shown: str) -> None:
    assert without_secrets(given) == shown


def test_a_dataset_of_the_users_own_travels_as_it_is(prepare: Prepare) -> None:
    source = prepare(datasets.Squares(9))
    assert _all(source)[-1] == (8, 64)
    assert source.digest().by == "pickle"
    assert source.digest() == prepare(datasets.Squares(9)).digest()
