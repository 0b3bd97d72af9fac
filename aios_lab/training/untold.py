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
from aios_lab.wire import RunUpdate

log = logging.getLogger("aios_lab.training")

NAME = "untold.jsonl"


class Message(BaseModel):
    """One message of a leader for the record: its ``number`` among those of the run, the number of its
    ``first`` metric, and what is new. It may come more than once."""

    number: int
    first: int
    update: RunUpdate


def leave_untold(folder: Path, unanswered: Mapping[str, Any], news: News) -> None:
    """Write the message that nobody answered as it was, since it may have been heard, and all that is left of
    ``news`` in messages after it; where the disk refuses it is lost, which the log says."""
    number, messages = unanswered["number"], [unanswered]
    while news.more:
        number += 1
        first, update = news.first, update_of(news.take()).model_dump(mode="json", exclude_unset=True)
        messages.append({"number": number, "first": first, "update": update})
    try:
        whole.write(folder / NAME, "".join(json.dumps(message) + "\n" for message in messages))
    except OSError as error:
        log.error("the end of run %s is told nowhere: %s", folder.name, error)


def untold(folder: Path) -> Iterator[Message]:
    """What was left there."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            yield Message.model_validate_json(line)
        except ValidationError as error:  # the user's own code can write there, too
            log.warning("what run %s left cannot be understood: %s", folder.name, error)
