"""Forecasts and what-ifs as people read them: sentences, and the same as HTML."""

from __future__ import annotations

import html
import time

from aios_lab.notebook.view import amounts, why
from aios_lab.wire import Forecast, Slice, WhatIf

DAY = 86_400


class ForecastView(Forecast):
    """A forecast as it was when asked for; shows itself as text and as HTML."""

    def __repr__(self) -> str:
        return f"{self.reason} {when(self)} ({self.basis})" if self.state == "expected" else _other(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return _paragraphs(self.reason, when(self), *([] if self.state == "unknown" else [self.basis]))


class WhatIfView(WhatIf):
    """What another request would bring; shows itself as text and as HTML."""

    def __repr__(self) -> str:
        return "\n".join(said(self))

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return _paragraphs(*said(self))


def _other(one: Forecast) -> str:
    return f"{one.reason} {when(one)}"


def _paragraphs(*lines: str) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)


def why_and_when(one: Slice, told: Forecast) -> str:
    """Why a slice waits, and when it gets what it waits for."""
    if not one.reason:  # nothing is decided yet
        return why(one)
    return f"{told.reason} {when(told)}" if told.state in ("expected", "unknown") else why(one)


def when(told: Forecast) -> str:
    """``Starts about 14:20 (14:05 to 14:50).`` Of a slice that has workers: ``Gets more about …``."""
    starts = "gets more" if told.grows else "starts"
    if told.state == "now":
        return "It has what it asked for, or gets it now."
    if told.state == "never":
        return f"There is no time at which it {starts}."
    if told.state == "unknown":
        return f"There is no forecast yet, {told.basis}"
    if told.start is None:
        return f"It {starts} in more than a month, if nothing changes."
    early = clock(told.early or told.start, told.made)
    late = "later than in a month" if told.late is None else clock(told.late, told.made)
    about = clock(told.start, told.made)
    return f"{starts.capitalize()} about {about}" + (
        "." if early == about == late else f" ({early} to {late})."
    )


def clock(moment: float, now: float) -> str:
    """The time of day, with the day where it is another, in the time zone of this process."""
    there, here = time.localtime(moment), time.localtime(now)
    if there[:3] == here[:3]:
        return time.strftime("%H:%M", there)
    near = 0 <= moment - now < 6 * DAY
    return time.strftime("%a %H:%M" if near else "%Y-%m-%d %H:%M", there)


def said(one: WhatIf) -> list[str]:
    """What would start, who would give for it, when the rest comes, and how it is without the change."""
    many = f"{one.max_workers} worker{'' if one.max_workers == 1 else 's'}"
    lines = [f"With {many} ({amounts(one.unit)} each): {_at_once(one)}"]
    if one.after.state in ("expected", "unknown"):
        lines.append(f"{one.after.reason} {when(one.after)}")
    elif one.after.state == "never":
        lines.append(one.after.reason)
    if one.before is not None and one.before.state != "now":
        lines.append(f"As it is: {when(one.before)}")
    return lines


def _at_once(one: WhatIf) -> str:
    if not one.soon:
        return "nothing more would start now."
    more = f"{one.soon} would start now"
    givers = [f"{give.user}'s {give.name} gives back {give.workers}" for give in one.gives]
    return f"{more}: {', '.join(givers)}." if givers else f"{more}."
