"""A run goes on from a checkpoint in another kernel, which has only its id; its logs are read by rank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live import CellError, HTTPProblem, Kernel, Server, serving, until

COUNTS = """%%aios train --workers 1 --name counting --set upto=6 --set fails_at=4
import os
SCALE = 10

def count(ctx, upto, fails_at):
    state = ctx.resume() or {"next": 0}
    for number in range(state["next"], upto):
        if number == fails_at and not os.path.exists("mended"):
            raise RuntimeError("it broke off")
        print("at", number)
        ctx.report(step=number, value=number * SCALE)
        ctx.checkpoint(next=number + 1)
    return upto * SCALE
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n"
    with serving(tmp_path_factory.mktemp("server"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def broken(server: Server) -> str:
    """The id of a run that broke off after some checkpoints, in a kernel that has ended."""
    kernel = server.kernel("first.ipynb")
    with pytest.raises(CellError, match="it broke off"):
        kernel.run(COUNTS)
    run_id = kernel.run("print(run.id)").strip()
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    until("it has checkpoints", lambda: server.get(f"aios/api/runs/{run_id}")["checkpoints"])
    return run_id


def kept_steps(server: Server, run_id: str) -> list[int]:
    return [one["step"] for one in server.get(f"aios/api/runs/{run_id}")["checkpoints"]]


@pytest.fixture(scope="module")
def kernel(server: Server, broken: str) -> Kernel:
    return server.kernel("second.ipynb")


def test_a_run_tells_its_checkpoints(server: Server, broken: str) -> None:
    kept = server.get(f"aios/api/runs/{broken}")["checkpoints"]
    assert {one["step"] for one in kept} <= {0, 1, 2, 3}
    assert all(one["bytes"] > 0 for one in kept)


def test_another_kernel_goes_on_from_the_newest_checkpoint(
    server: Server, kernel: Kernel, broken: str
) -> None:
    (server.work / "mended").touch()
    kernel.run(f"%aios resume {broken}")
    newest = kept_steps(server, broken)[-1]
    seen = kernel.run("print(run.result(), [step for step, _ in run.metrics()['value']])")
    assert seen == f"60 {list(range(newest + 1, 6))}\n"
    resumed = server.get(f"aios/api/runs/{kernel.run('print(run.id)').strip()}")
    assert resumed["resumed"] == {"run_id": broken, "step": newest}
    assert resumed["name"] == "counting"
    assert resumed["parameters"] == {"upto": 6, "fails_at": 4}


def test_any_checkpoint_that_is_kept_will_do(server: Server, kernel: Kernel, broken: str) -> None:
    (server.work / "mended").touch()
    kept = kept_steps(server, broken)
    one = kept[len(kept) // 2]  # the oldest may have made room for one that was written at the very end
    kernel.run(f"import aios_lab as aios; again = aios.resume({broken!r}, step={one})")
    seen = kernel.run("print([step for step, _ in again.metrics()['value']])")
    assert seen == f"{list(range(one + 1, 6))}\n"


def test_a_checkpoint_that_there_is_not_is_refused_in_words(kernel: Kernel, broken: str) -> None:
    with pytest.raises(CellError, match=r"(?s)has no checkpoint at step 77.*checkpoints at the steps [0-3]"):
        kernel.run(f"%aios resume {broken} --step 77")


def test_the_log_of_a_rank_is_read_from_its_file(server: Server, broken: str) -> None:
    log = server.get(f"aios/api/runs/{broken}/log?rank=0")
    assert [line for line in log["lines"] if line.startswith("at")] == ["at 0", "at 1", "at 2", "at 3"]
    assert server.get(f"aios/api/runs/{broken}/log?rank=0&lines=1")["abridged"]
    with pytest.raises(HTTPProblem) as refused:
        server.get(f"aios/api/runs/{broken}/log?rank=7")
    assert refused.value.status == 404
    assert "rank 7" in refused.value.body["message"]


def test_data_of_the_notebook_is_asked_for_again(server: Server, kernel: Kernel) -> None:
    kernel.run(
        "import aios_lab as aios, numpy as np\n"
        "def adds(ctx):\n"
        "    kept = ctx.resume() or {'sum': 0.0}\n"
        "    ctx.checkpoint(sum=kept['sum'] + float(ctx.data[0].sum()))\n"
        "    return kept['sum']\n"
        "run = aios.train(adds, workers=1, data=np.ones((6, 2)))"
    )
    first = kernel.run("print(run.id)").strip()
    until("it has a checkpoint", lambda: server.get(f"aios/api/runs/{first}")["checkpoints"])
    with pytest.raises(CellError, match=rf"(?s)a ndarray\), which is not kept.*data=…, resume='{first}@0'"):
        kernel.run(f"%aios resume {first}")
    seen = kernel.run(
        f"print(aios.train(adds, workers=1, data=np.ones((6, 2)), resume='{first}@0').result())"
    )
    assert seen.splitlines()[-1] == "2.0"
