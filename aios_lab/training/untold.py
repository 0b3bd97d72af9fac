"""What a run could tell nobody: its leader leaves it in the run's folder for whoever keeps records next."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from aios_lab.training import whole
from aios_lab.training.news import News, update_of
from aios_lab.wire import RunUpdate, Whole

log = logging.getLogger("aios_lab.training")

NAME = "untold.jsonl"
LONGEST = 1 << 25  # bytes that are written, and read: the user's own code can write there, too


class Message(BaseModel):
    """One message of a leader for the record: its ``number`` among those of the run, the number of its
    ``first`` metric, and what is new. It may come more than once."""

    number: Whole
    first: Whole
    update: RunUpdate


def leave_untold(folder: Path, unanswered: Mapping[str, Any], news: News) -> None:
    """Write the message that nobody answered as it was, since it may have been heard, and all that is left of
    ``news`` in messages after it, the newest left out beyond ``LONGEST`` bytes; where the disk refuses it is
    lost, which the log says."""
    number, lines = unanswered["number"], [_line(unanswered)]
    while news.more:
        number += 1
        first, update = news.first, update_of(news.take()).model_dump(mode="json", exclude_unset=True)
        lines.append(_line({"number": number, "first": first, "update": update}))
        if sum(map(len, lines)) > LONGEST:
            log.warning("some of the end of run %s is told nowhere: it is too long", folder.name)
            lines.pop()
            break
    try:
        whole.write(folder / NAME, b"".join(lines))
    except OSError as error:
        log.error("the end of run %s is told nowhere: %s", folder.name, error)


def untold(folder: Path) -> Iterator[Message]:
    """What was left there."""
    try:
        with whole.opened(folder / NAME) as file:
            text = file.read(LONGEST)
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield Message.model_validate_json(line)
        except ValidationError as error:
            log.warning("what run %s left cannot be understood: %s", folder.name, error)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
