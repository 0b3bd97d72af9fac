"""What a notebook says and hears of its slice's size."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import aios_lab as aios
from aios_lab.notebook.resizing import Kind, Notices, ResizeEvent, words
from live import until


def told(kind: str, before: int, after: int, deadline: float | None = None, reason: str = "") -> Any:
    event = {"kind": kind, "before": before, "after": after, "deadline": deadline, "reason": reason}
    return time.time(), {"event": "resize"} | event


NOON = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("kind", "before", "after", "said"),
    [
        (
            "shrinking",
            2,
            1,
            "This slice shrinks from 2 to 1 worker by 12:00:00: b.ipynb waits for its share.",
        ),
        ("shrunk", 3, 2, "This slice has shrunk from 3 to 2 workers: b.ipynb waits for its share."),
        (
            "parked",
            2,
            0,
            "This slice has no workers for now; what it computed is kept: b.ipynb waits for its share.",
        ),
        ("resumed", 0, 1, "This slice has 1 worker again."),
        ("growing", 1, 2, ""),
        ("grown", 1, 2, ""),
    ],
)
def test_words(kind: Kind, before: int, after: int, said: str) -> None:
    deadline = NOON if kind == "shrinking" else None
    assert words(ResizeEvent(kind, before, after, deadline, "b.ipynb waits for its share.")) == said


def test_callbacks_hear_everything_in_order_and_disturb_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[ResizeEvent] = []
    failed, last = threading.Event(), threading.Event()

    def broken(event: ResizeEvent) -> None:
        failed.set()
        raise ValueError("mine")

    def note(event: ResizeEvent) -> None:
        heard.append(event)
        if event.kind == "grown":
            last.set()

    notices = Notices()
    forget = notices.call_back(broken)
    notices.call_back(note)
    notices.hear((time.time(), {"event": "memory", "pid": 1}))
    notices.hear(told("shrinking", 2, 1, NOON, "ben waits."))
    assert failed.wait(30)
    notices.hear(told("shrunk", 2, 1))
    forget()
    forget()
    notices.hear(told("grown", 1, 2))
    assert last.wait(30)
    assert [event.kind for event in heard] == ["shrinking", "shrunk", "grown"]
    assert heard[0] == ResizeEvent("shrinking", 2, 1, NOON, "ben waits.")
    err = capfd.readouterr().err
    assert "aios.on_resize: broken failed." in err
    assert "ValueError: mine" in err


def test_a_callback_that_takes_long_holds_up_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    goes_on, notices, shown = threading.Event(), Notices(), ""

    def said() -> bool:
        nonlocal shown
        shown += capfd.readouterr().out
        return "This slice shrinks from 2 to 1 worker" in shown and "This slice has shrunk" in shown

    notices.call_back(lambda event: goes_on.wait(60))
    notices.hear(told("shrinking", 2, 1, NOON, "ben waits."))
    notices.hear(told("shrunk", 2, 1))
    until("both are shown", said)
    goes_on.set()


@pytest.mark.parametrize("wrong", [3, None, asyncio.sleep])
def test_what_cannot_be_called_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes a function"):
        aios.on_resize(wrong)


def test_it_is_of_the_sdk() -> None:
    forget = aios.on_resize(print)
    forget()
