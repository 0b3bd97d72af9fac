"""What users get wrong: a clear error, nothing lost, nothing left running."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from live import CellError, HTTPProblem, Server, free_port, serving, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as running:
        yield running


@pytest.fixture(scope="module")
def kernel(server: Server):
    return server.kernel()


def failure(kernel, code: str) -> str:
    with pytest.raises(CellError) as caught:
        kernel.run(code)
    return str(caught.value)


def test_a_cell_that_is_no_function(kernel):
    text = failure(kernel, "%%aios train --workers 1\nx = 1")
    assert "function" in text
    assert "def train(ctx)" in text


def test_a_rank_that_raises_is_the_error_of_the_cell(server: Server, kernel):
    text = failure(
        kernel,
        "%%aios train --workers 2 --name broken\n"
        "def train(ctx):\n"
        "    ctx.prepare(__import__('torch').nn.Linear(2, 2))\n"
        "    if ctx.rank == 1:\n"
        "        raise ValueError('the seventh image is broken')\n"
        "    import torch.distributed as dist\n"
        "    dist.barrier()\n",
    )
    assert "the seventh image is broken" in text
    assert "rank 1" in text.lower()
    assert "raise ValueError('the seventh image is broken')" in text, "the line of the cell is shown"
    run = next(r for r in server.get("aios/api/runs") if r["name"] == "broken")
    assert run["state"] == "failed"
    assert "seventh image" in run["error"]
    after = kernel.run("import aios_lab as aios\nprint(aios.client().submit(sum, [1, 2]).result())")
    assert after.strip().endswith("3"), "the slice can be used again"


@pytest.fixture(scope="module")
def at_rest(server: Server, kernel) -> set[int]:
    """The processes of a slice that has trained, and trains no more."""
    kernel.run("%%aios train --workers 2\ndef train(ctx):\n    ctx.report(loss=1.0)")
    ranks = "[r['pid'] for r in run.view().model_dump()['ranks'] if r['pid']]"
    pids = set(eval(kernel.run(f"print({ranks})").splitlines()[-1]))
    until("its ranks are gone", lambda: not pids & set(server.processes()))
    return set(server.processes())


WRONG = {
    "cannot travel": ("return guard.locked()", ["'guard' (a lock), which train() uses, cannot be sent"]),
    "exits": ("__import__('sys').exit('out of data')", ["Rank", "sys.exit('out of data')"]),
    "no CUDA": ("torch.ones(1, device='cuda')", ["Rank", "CUDA"]),
    "other shapes": ("ctx.prepare(torch.nn.Linear(2, 1 + ctx.rank))", ["All ranks must make the same model"]),
    "other sizes": (
        "ctx.process_group and dist.all_reduce(torch.ones(999 << ctx.rank))",
        ["different sizes"],
    ),
    "dies": ("__import__('os').kill(__import__('os').getpid(), 11)", ["Rank", "SIGSEGV"]),
    "leaves processes": ("sum(__import__('os').fork() for _ in range(4)) and 1 / 0", ["ZeroDivisionError"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_goes_wrong_in_a_cell_is_said_and_over(server: Server, kernel, at_rest: set[int], what: str):
    line, words = WRONG[what]
    text = failure(
        kernel,
        "%%aios train --workers 2\n"
        "import threading, torch\nimport torch.distributed as dist\nguard = threading.Lock()\n"
        f"def train(ctx):\n    {line}\n",
    )
    for word in words:
        assert word in text
    until("nothing of it runs", lambda: set(server.processes()) <= at_rest)
    assert not [run for run in server.get("aios/api/runs") if not run["ended"]]


def test_a_cell_that_hangs_is_interrupted(server: Server, kernel, at_rest: set[int]):
    cell = "%%aios train --workers 2 --name hung\ndef train(ctx):\n    print('hangs')\n    while True: pass"
    with ThreadPoolExecutor(1) as background:
        answer = background.submit(failure, kernel, cell)
        until("it hangs", lambda: "".join(server.get("aios/api/runs")[0]["log_tail"]).count("hangs") == 2, 60)
        server.fetch("POST", f"api/kernels/{kernel.id}/interrupt")
        assert "The run 'hung' stopped at step 0" in answer.result(60)
    assert server.get("aios/api/runs")[0]["state"] == "stopped"
    until("nothing of it runs", lambda: set(server.processes()) <= at_rest)


def test_more_workers_than_there_are(server: Server, kernel, at_rest: set[int]):
    begun = len(server.get("aios/api/runs"))
    text = failure(kernel, "%%aios train --workers 50\ndef train(ctx): ...")
    assert "50" in text
    assert "room for 4" in text
    assert len(server.get("aios/api/runs")) == begun
    assert set(server.processes()) <= at_rest


def test_an_unknown_option_prints_the_usage(kernel):
    text = failure(kernel, "%aios request --wrokers 2")
    assert "--wrokers" in text
    assert "--workers" in text


def test_help_is_text_not_an_exit(kernel):
    for line in ("%aios --help", "%aios request --help", "%aios train --help"):
        assert "usage" in kernel.run(line).lower()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "slices/{slice}", {"workers": -1}, 400),
        ("PATCH", "slices/{slice}", {"memory": "lots"}, 400),
        ("PATCH", "slices/{slice}", {"nonsense": 1}, 400),
        ("PATCH", "slices/{slice}", {"workers": 100000}, None),
        ("PATCH", "slices/s-00000000", {"workers": 1}, 404),
        ("POST", "models", {"run_id": "r-none", "name": "x"}, 404),
        ("POST", "models", {"run_id": "r-none", "name": "../x"}, 400),
        ("POST", "models/none/versions/1/compress", {}, 404),
        ("POST", "models/none/versions/one/compress", {}, None),
        ("POST", "runs/r-none/stop", None, 404),
        ("GET", "jobs/j-none", None, 404),
        ("GET", "nowhere", None, 404),
    ],
)
def test_every_refusal_is_4xx_and_says_what_to_do(server: Server, kernel, method, path, body, status):
    with pytest.raises(HTTPProblem) as refused:
        server.fetch(method, "aios/api/" + path.format(slice=kernel.slice()["id"]), body)
    problem = refused.value
    assert 400 <= problem.status < 500, problem
    assert status is None or problem.status in (status, 422), problem
    assert set(problem.body) == {"message", "reason", "hint"}, problem
    assert all(problem.body.values()), problem


def test_an_mlflow_server_that_does_not_answer(tmp_path: Path):
    config = f"c.AIOSLab.mlflow_uri = 'http://127.0.0.1:{free_port()}'\n"
    with serving(tmp_path, config=config) as server:
        kernel = server.kernel()
        text = failure(kernel, "%%aios train --workers 1\ndef train(ctx):\n    ctx.report(loss=1.0)")
        assert "mlflow" in text.lower()
        assert "AIOSLab.mlflow_uri" in text
        with pytest.raises(HTTPProblem) as refused:
            server.get("aios/api/models")
        assert 400 <= refused.value.status < 500
        until("nothing runs", lambda: not [r for r in server.get("aios/api/runs") if not r["ended"]])


def test_two_servers_on_one_ledger(tmp_path: Path):
    with serving(tmp_path / "one") as first:
        assert first.process is not None
        shared = f"c.AIOSLab.data_dir = {str(first.data_dir)!r}\n"
        second = Server(tmp_path / "two", config=shared)
        try:
            second.start(wait=False)
            until("the second answers", second._answers, 60)
            status = until(
                "it says why it is not ready", lambda: second.get("aios/api/status")["problems"], 30
            )
            assert str(first.process.pid) in status[0]["message"]
            with pytest.raises(HTTPProblem) as refused:
                second.get("aios/api/slices")
            assert refused.value.status == 409
            kernel = second.kernel("plain.ipynb")
            assert kernel.run("print(6 * 7)").strip() == "42"
            assert str(first.process.pid) in failure(
                kernel, "import aios_lab as aios\naios.request(workers=1)"
            )
        finally:
            second.stop()
        assert first.get("aios/api/status")["ready"]
