"""What forecasts and what-ifs read like in a notebook."""

from __future__ import annotations

import time

import pytest

from aios_lab.notebook.outlook import ForecastView, WhatIfView, clock, when, why_and_when
from aios_lab.wire import Amounts, Giver, Slice, SliceState

NOON = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
REASON = "Waiting for 2 workers: bob's b.ipynb holds 3 of 4 GPUs; 1 worker would start now."


def forecast(**fields: object) -> ForecastView:
    known = {
        "slice_id": "s-1", "made": NOON, "state": "expected", "workers": 2, "early": NOON + 600,
        "start": NOON + 1200, "late": NOON + 2400, "replays": 100, "basis": "100 replays of the policy.",
        "reason": REASON, "long_run": None, "grows": False,
    }  # fmt: skip
    return ForecastView.model_validate(known | fields)


def what_if(**fields: object) -> WhatIfView:
    known = {
        "slice_id": "s-1", "unit": Amounts(cpus=1, memory=2_000_000_000, gpus=1), "min_workers": 1,
        "max_workers": 2, "at_once": 0, "soon": 0, "gives": [], "before": None, "after": forecast(),
    }  # fmt: skip
    return WhatIfView.model_validate(known | fields)


def waiting(**fields: object) -> Slice:
    known = {
        "id": "s-1", "state": SliceState.REQUESTED, "dormant": False, "user": "ada", "project": "default",
        "kernel_id": None, "name": "a.ipynb", "mine": True, "unit": Amounts(cpus=1), "workers": 0,
        "target": 0, "min_workers": 2, "max_workers": 2, "priority": "normal", "reason": "Waiting.",
        "created": 1.0, "since": 1.0,
    }  # fmt: skip
    return Slice.model_validate(known | fields)


NOTHING = {"early": None, "start": None, "late": None}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Starts about 12:20 (12:10 to 12:40)."),
        ({"early": NOON + 1200, "late": NOON + 1200}, "Starts about 12:20."),
        ({"grows": True}, "Gets more about 12:20 (12:10 to 12:40)."),
        ({"late": None}, "Starts about 12:20 (12:10 to later than in a month)."),
        (NOTHING, "It starts in more than a month, if nothing changes."),
        ({"state": "now"}, "It has what it asked for, or gets it now."),
        ({"state": "never"} | NOTHING, "There is no time at which it starts."),
        (
            {"state": "unknown", "basis": "no history: nobody knows."} | NOTHING,
            "There is no forecast yet, no history: nobody knows.",
        ),
    ],
)
def test_when(fields: dict[str, object], says: str) -> None:
    told = forecast(**fields)
    assert when(told) == says
    assert says in repr(told)
    assert REASON in str(told)
    assert says.replace("'", "&#x27;") in told._repr_html_()


def test_another_day_is_named() -> None:
    assert clock(NOON + 86_400, NOON) == time.strftime("%a 12:00", time.localtime(NOON + 86_400))
    assert clock(NOON + 10 * 86_400, NOON) == "2026-12-01 12:00"


def test_what_would_be() -> None:
    told = what_if(soon=1, at_once=1, after=forecast(state="now"), before=forecast())
    assert repr(told).splitlines() == [
        "With 2 workers (1 CPU, 2 GB, 1 GPU each): 1 would start now.",
        "As it is: Starts about 12:20 (12:10 to 12:40).",
    ]
    giver = Giver(slice_id="s-2", user="bob", name="<b>.ipynb", workers=1)
    told = what_if(soon=2, gives=[giver], after=forecast(state="now"))
    assert repr(told).endswith("2 would start now: bob's <b>.ipynb gives back 1.")
    assert "&lt;b&gt;.ipynb" in told._repr_html_()
    told = what_if(max_workers=1)
    assert repr(told).splitlines() == [
        "With 1 worker (1 CPU, 2 GB, 1 GPU each): nothing more would start now.",
        f"{REASON} Starts about 12:20 (12:10 to 12:40).",
    ]
    never = forecast(state="never", reason="It can never start: too large.", **NOTHING)
    assert repr(what_if(after=never)).endswith("It can never start: too large.")


def test_why_tells_when() -> None:
    assert why_and_when(waiting(), forecast()) == f"{REASON} Starts about 12:20 (12:10 to 12:40)."
    assert why_and_when(waiting(), forecast(state="never")) == "Waiting."
    assert why_and_when(waiting(reason=""), forecast()) == why_and_when(
        waiting(reason=""), forecast(state="unknown")
    )
