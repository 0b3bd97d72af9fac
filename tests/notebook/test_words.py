"""What people read: slices, progress, errors; and how light the SDK is."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import aios_lab
from aios_lab.models.tables import size
from aios_lab.notebook.display import Output, progress
from aios_lab.notebook.errors import AIOSError
from aios_lab.notebook.server import Server, page
from aios_lab.notebook.tracker import HTTPTracker
from aios_lab.notebook.view import SliceTable, SliceView, why
from aios_lab.training import TrackerUnavailable
from aios_lab.wire import Amounts, Lost, Resize, Run, RunState, RunUpdate, SliceState

GONE = Server("http://127.0.0.1:9", "token", "s-1")


def a_slice(**given: object) -> SliceView:
    values = {
        "id": "s-1",
        "state": SliceState.ACTIVE,
        "dormant": False,
        "user": "ada",
        "project": "default",
        "name": "a.ipynb",
        "kernel_id": "k",
        "mine": True,
        "unit": Amounts(cpus=1, memory=2_000_000_000),
        "workers": 1,
        "target": 1,
        "min_workers": 1,
        "max_workers": 2,
        "priority": "normal",
        "reason": "b.ipynb holds 3 workers.",
        "created": 0,
        "since": 0,
    }
    return SliceView.model_validate(values | given)


def a_run(**given: object) -> Run:
    values = {
        "id": "r-1",
        "name": "digits",
        "slice_id": "s-1",
        "user": "ada",
        "mine": True,
        "state": RunState.RUNNING,
        "strategy": "ddp",
        "world_size": 2,
        "created": 0,
    }
    return Run.model_validate(values | given)


def test_a_slice_is_one_line() -> None:
    text = "s-1: 1 of 2 workers (1 CPU, 2 GB each), active: b.ipynb holds 3 workers."
    assert repr(a_slice()) == str(a_slice()) == text
    assert "asleep" in repr(a_slice(dormant=True, reason="", workers=0))
    assert "giving back" in repr(a_slice(dormant=True, reason="", workers=2))
    assert "<td" in a_slice(name="<b>")._repr_html_()
    assert "<b>" not in a_slice(name="<b>")._repr_html_()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "b.ipynb holds"),
        ({"problem": "The cluster has 4 CPUs."}, "The cluster has 4 CPUs. b.ipynb"),
        ({"reason": "", "dormant": True}, "Nothing is asked for yet"),
        ({"reason": "", "target": 2}, "1 of the 2 granted"),
        ({"reason": "", "max_workers": 1}, "Nothing is missing"),
    ],
)
def test_why_answers_in_every_state(given: dict[str, object], words: str) -> None:
    assert words in why(a_slice(**given))


def test_the_table_has_mine_first_and_of_others_only_what_they_hold() -> None:
    other = a_slice(id="s-2", user="abe", mine=False, name="", workers=3, reason="")
    lines = repr(SliceTable([other, a_slice()], own="s-1")).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["→", "s-1"], ["s-2", "abe"]]
    assert "of" not in lines[2].replace("active", "")
    assert SliceTable([other], "s-1")._repr_html_().count("<tr>") == 2


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (2e9, "2 GB"), (4.096e9, "4.1 GB"), (5e12, "5 TB")]
)
def test_sizes_in_bytes(count: float, text: str) -> None:
    assert size(count) == text


def test_progress_is_one_line_and_the_error_another() -> None:
    run = a_run(step=120, total_steps=240, epoch=2, total_epochs=12, throughput=31.25, eta=75)
    run.metrics = {"loss": 0.2134, "accuracy": 0.9}
    expected = (
        "digits: running on 2 ranks | epoch 3 of 12 | ██████████░░░░░░░░░░ 50% | step 120 of 240 | "
        "31.2 steps/s, 1 min 15 s left | loss 0.2134  accuracy 0.9"
    )
    assert progress(run) == expected
    assert progress(a_run(state="failed", error="Rank 1 failed\n…")).splitlines()[1] == "Rank 1 failed"
    assert progress(a_run()) == "digits: running on 2 ranks"


def test_progress_says_what_resizes_cost_and_what_it_waits_for() -> None:
    shrunk = Resize(time=1.0, step=40, before=2, after=1, why="The slice shrank.", seconds=0.3)
    run = a_run(state="resizing", note="Waiting for 1 worker.", resizes=[shrunk])
    run.lost = Lost(steps=1, seconds=0.312)
    assert progress(run).splitlines() == [
        "digits: resizing on 2 ranks",
        "Waiting for 1 worker.",
        "1 resize, 1 step redone, paused 0.31 s; the last from 2 to 1 ranks at step 40: The slice shrank.",
    ]
    ended = run.model_copy(update={"state": RunState.FINISHED, "ended": 2.0})
    assert "Waiting" not in progress(ended)


def test_without_a_kernel_progress_never_floods(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    for step in range(100):
        output.show(f"step {step}", last=False)
    output.show("step 99, done")
    assert capsys.readouterr().out == "step 0\nstep 99, done\n"


def test_an_error_says_what_and_what_to_do_and_travels() -> None:
    error = pickle.loads(pickle.dumps(AIOSError("Too large.", "too_large", "Ask for less.", 409)))
    assert str(error) == "Too large. Ask for less."
    assert (error.reason, error.status) == ("too_large", 409)
    assert error._render_traceback_() == ["AIOSError: Too large.", "Ask for less."]


def test_a_server_that_is_away_is_an_error_for_people_and_a_delay_for_runs() -> None:
    with pytest.raises(AIOSError, match=r"127\.0\.0\.1:9 does not answer.*restart this kernel"):
        GONE.send("GET", "slices")
    with pytest.raises(TrackerUnavailable):
        HTTPTracker(GONE, "/tmp").update("r-1", RunUpdate())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": "many"}, "workers='many' is not possible"),
        ({"workers": -1}, "workers=-1 is not possible: input should be greater than"),
        ({"cpus": 0}, "cpus=0 is not possible"),
        ({"priority": "urgent"}, "'low', 'normal' or 'high'"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_it_is_sent(monkeypatch, given, words) -> None:
    for name, value in (("AIOS_URL", GONE.url), ("AIOS_TOKEN", "t"), ("AIOS_SLICE", "s-1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(AIOSError) as caught:
        aios_lab.request(**given)
    assert words in str(caught.value)
    assert "For example" in caught.value.hint


def test_an_option_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(AIOSError) as caught:
        aios_lab.request(worker=2)
    assert caught.value.message == "aios.request() has no option 'worker'. Did you mean workers?"
    assert "min_workers" in caught.value.hint


def test_the_sdk_loads_nothing_heavy() -> None:
    code = (
        "import sys; import aios_lab as aios; aios.client, aios.request, aios.train;"
        "print([m for m in ('torch', 'distributed', 'mlflow', 'pydantic', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_page_of_the_server_is_a_url_and_behind_a_hub_a_path() -> None:
    given = {"AIOS_URL": "http://127.0.0.1:8888/user/ada"}
    assert page("aios/x", given) == "http://127.0.0.1:8888/user/ada/aios/x"
    assert page("aios/x", given | {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}) == "/user/ada/aios/x"


def test_a_slice_with_a_dashboard_links_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_URL", "http://127.0.0.1:8888")
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    link = 'href="http://127.0.0.1:8888/aios/slices/s-1/dashboard/status" target="_blank"'
    assert link in a_slice(dashboard="aios/slices/s-1/dashboard/status")._repr_html_()
    assert "href" not in a_slice()._repr_html_()
