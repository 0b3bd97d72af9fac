"""Training on ``ctx.data``: the batches are those of data in memory, and each rank reads its part."""

from __future__ import annotations

import _thread
import json
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from aios_lab.training import Files, LocalTracker, TrainingFailed, train
from aios_lab.training.saving import checkpoints
from aios_lab.wire import RunState
from training import datasets
from training.helpers import Train

ROWS, GROUPS = 600, 24


def learns(ctx: Any, epochs: int = 2, batch: int = 15, data: Any = None) -> tuple[list[float], list[Any]]:
    """Weights after some epochs over ``ctx.data``, or over ``data``; and what each rank has read."""
    import torch
    import torch.distributed as dist
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(1)
    dataset = ctx.data if data is None else TensorDataset(*map(torch.from_numpy, data))
    model: Any = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader: Any = DataLoader(dataset, batch_size=batch, shuffle=True)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    for epoch in range(epochs):
        for inputs, labels in loader:
            loss = torch.nn.functional.mse_loss(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ctx.report(epoch=epoch, loss=loss)
    read: list[Any] = [None] * ctx.world_size
    dist.all_gather_object(read, getattr(dataset, "reading", None), group=ctx.process_group)
    inner = ctx.unwrap(model)
    return [float(v) for v in torch.cat([p.detach().flatten() for p in inner.parameters()])], read


def goes_through(ctx: Any, shuffle: bool = True, batch: int = 24, epochs: int = 1) -> list[Any]:
    """Of each rank: the ids of every batch that it got, what it read, and the most parts that it held."""
    import torch
    import torch.distributed as dist
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(ctx.data, batch_size=batch, shuffle=shuffle)
    _, loader = ctx.prepare(torch.nn.Linear(1, 1), None, loader)
    batches, held = [], 0
    for _ in range(epochs):
        for rows in loader:
            batches.append(rows["id"].tolist())
            held = max(held, ctx.data.held)
            ctx.report(rows=len(rows["id"]))
    found: list[Any] = [None] * ctx.world_size
    dist.all_gather_object(found, (batches, ctx.data.reading, held), group=ctx.process_group)
    return found


def _arrays() -> tuple[Any, Any]:
    x = np.random.default_rng(1).standard_normal((64, 4)).astype(np.float32)
    return x, x @ np.array([[1.0], [-2.0], [3.0], [0.5]], dtype=np.float32)


def test_what_is_learned_from_the_runs_data_is_learned_from_memory(start: Train) -> None:
    x, y = _arrays()
    expected, _ = start(learns, workers=1, seed=3, data=None, args=[2, 15, (x, y)]).result(60)
    for workers in (1, 2):
        run = start(learns, workers=workers, seed=3, data=(x, y))
        weights, read = run.result(60)
        assert weights == pytest.approx(expected, abs=1e-5)
        assert sum(one.samples for one in read) == 2 * 64
        if workers == 2:
            whole = 2 * (x.nbytes + y.nbytes)
            assert [one.bytes < 0.6 * whole for one in read] == [True, True]


def test_the_record_says_what_it_trained_on_and_nothing_is_left(start: Train, tmp_path: Path) -> None:
    run = start(learns, data=_arrays(), batch=16)
    run.result(60)
    (data,) = run.view().data
    assert (data.source, data.rows) == ("NumPy arrays: the notebook", 64)
    assert data.digest.startswith("sha256:")
    assert json.loads((run.folder / "run.json").read_text())["data"][0]["digest"] == data.digest
    assert not (run.folder / "data").exists()
    assert "data: 64 samples from NumPy arrays, the notebook" in run.logs()
    for rank in (0, 1):
        assert "data: read its share once: 32 of 64 samples" in run.logs(rank)


def test_each_rank_reads_its_row_groups_and_holds_a_few(start: Train, tmp_path: Path) -> None:
    folder = datasets.write_parquet(tmp_path / "table", files=3, group=ROWS // GROUPS, rows=ROWS)
    (alone,) = start(goes_through, data=folder, workers=1, seed=5).result(60)
    both = start(goes_through, data=folder, workers=2, seed=5).result(60)
    assert sorted(row for batch in alone[0] for row in batch) == list(range(ROWS))
    assert [first + second for first, second in zip(both[0][0], both[1][0], strict=True)] == alone[0]
    assert alone[0] != [list(range(n, n + 24)) for n in range(0, ROWS, 24)]
    for _, read, held in both:
        assert read.parts <= GROUPS / 2 + 4
        assert read.bytes <= 0.75 * alone[1].bytes
        assert held <= GROUPS / 2
    assert sum(read.samples for _, read, _ in both) == ROWS


def test_without_a_shuffle_the_order_is_that_of_the_files(start: Train, tmp_path: Path) -> None:
    folder = datasets.write_parquet(tmp_path / "table", files=3, group=ROWS // GROUPS, rows=ROWS)
    ranks = start(goes_through, data=folder, shuffle=False, workers=2, epochs=2).result(60)
    in_order = [first + second for first, second in zip(ranks[0][0], ranks[1][0], strict=True)]
    assert in_order == 2 * [list(range(n, n + 24)) for n in range(0, ROWS, 24)]
    assert all(held <= 6 for _, _, held in ranks)


def counts(ctx: Any, folder: str, fails_after: int = 0) -> None:
    """Writes down the step and the ids of each batch; two epochs."""
    import torch
    from torch.utils.data import DataLoader

    model: Any = torch.nn.Linear(1, 1)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.01)
    loader: Any = DataLoader(ctx.data, batch_size=24, shuffle=True)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    step = 0
    with open(f"{folder}/{ctx.run_id}-{ctx.rank}", "w") as file:
        for epoch in range(2):
            for rows in loader:
                loss = model(rows["x0"][:, None]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                file.write(json.dumps([step, rows["id"].tolist()]) + "\n")
                file.flush()
                ctx.report(epoch=epoch, loss=loss)
                if step == fails_after:
                    ctx.finish()  # what is being written is there before it fails
                    raise RuntimeError("broken off")


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_each_row_comes_once_an_epoch_though_the_ranks_change_within_it(
    start: Train, tmp_path: Path, first: int, then: int
) -> None:
    folder = datasets.write_parquet(tmp_path / "table", files=3, group=ROWS // GROUPS, rows=ROWS)
    how = {"data": folder, "folder": str(tmp_path), "seed": 5, "checkpoint_every": 8}
    begun = start(counts, workers=first, fails_after=13, **how)
    with pytest.raises(TrainingFailed, match="broken off"):
        begun.wait(90)
    place = checkpoints.listed(checkpoints.folder_of(tmp_path / begun.id))[0]
    kept = checkpoints.verify(place).reported
    assert 0 < kept < 13
    run = start(counts, workers=then, resume=begun.id, **how)
    run.wait(90)

    def ids(run_id: str, until: int) -> list[int]:
        files = tmp_path.glob(f"{run_id}-*")
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [row for step, rows in lines if step <= until for row in rows]

    assert sorted(ids(begun.id, kept) + ids(run.id, 1000)) == sorted(2 * list(range(ROWS)))


@pytest.mark.parametrize("kind", ["csv", "images", "Bag", "own", "DataFrame"])
def test_every_kind_reaches_the_ranks_in_global_batches(start: Train, tmp_path: Path, kind: str) -> None:
    import dask.bag as db
    import dask.dataframe as dd

    frame = datasets.frame()[["a", "b"]]
    frame.to_csv(tmp_path / "one.csv", index=False)
    data: Any = {
        "csv": lambda: Files(tmp_path / "one.csv", target="a"),
        "images": lambda: datasets.write_images(tmp_path / "pets"),
        "Bag": lambda: db.from_sequence(range(60), npartitions=7).map(lambda n: (n, n)),
        "own": lambda: datasets.Squares(60),
        "DataFrame": lambda: dd.from_pandas(frame, npartitions=4),
    }[kind]()

    def fn(ctx: Any) -> list[Any]:
        import torch
        import torch.distributed as dist
        from torch.utils.data import DataLoader

        _, loader = ctx.prepare(torch.nn.Linear(1, 1), None, DataLoader(ctx.data, batch_size=8, shuffle=True))
        batches = [batch["a"] if isinstance(batch, dict) else batch[1] for batch in loader]
        found: list[Any] = [None] * ctx.world_size
        dist.all_gather_object(found, [batch.tolist() for batch in batches], group=ctx.process_group)
        return found

    (alone,) = start(fn, data=data, workers=1, seed=4).result(60)
    first, second = start(fn, data=data, workers=2, seed=4).result(60)
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    expected = [n * n for n in range(60)] if kind == "own" else list(range(60))
    assert sorted(n for batch in alone for n in batch) == (
        expected if kind != "images" else [0] * 6 + [1] * 6
    )


def test_jumping_among_row_groups_is_said(start: Train, tmp_path: Path) -> None:
    folder = datasets.write_parquet(tmp_path / "table", files=3, group=ROWS // GROUPS, rows=ROWS)

    def fn(ctx: Any) -> int:
        from torch.utils.data import DataLoader

        return sum(len(batch["id"]) for batch in DataLoader(ctx.data, batch_size=4, shuffle=True))

    run = start(fn, data=folder, workers=1)
    assert run.result(60) == ROWS
    assert run.logs(0).count("Give the DataLoader to ctx.prepare") == 1


def _hangs(folder: str, n: int) -> Any:
    Path(folder, f"began-{n}").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    return np.zeros((2, 3))


def test_an_interrupt_while_data_is_loaded_leaves_nothing(client: Client, tmp_path: Path) -> None:
    tracker = LocalTracker(tmp_path / "runs")
    said: list[str] = []

    def interrupt() -> None:
        while not (notes := [run.note for run in tracker.runs.values() if run.note]):
            time.sleep(0.02)
        said.extend(notes)
        while not list(tmp_path.glob("began-*")):
            time.sleep(0.02)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    data = datasets.delayed(partial(_hangs, str(tmp_path)), 4)
    with pytest.raises(KeyboardInterrupt):
        train(learns, client=client, tracker=tracker, data=data)
    (tmp_path / "go").touch()
    (run,) = tracker.runs.values()
    assert run.state is RunState.STOPPED
    assert said == ["Loading data: 0 of 4 partitions loaded, 0 bytes"]
    assert not (tmp_path / "runs" / run.id / "data").exists()
    assert client.submit(int, 3).result(60) == 3
    while client.run_on_scheduler(_tasks):
        time.sleep(0.05)
    assert len(list(tmp_path.glob("began-*"))) <= 2


def _tasks(dask_scheduler: Any) -> int:
    return sum(1 for name in dask_scheduler.tasks if "write_value" in str(name) or "_hangs" in str(name))
