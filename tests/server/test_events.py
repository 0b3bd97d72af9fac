"""Jupyter events say what the wire says: an event of a state that its schema does not know is an error."""

from __future__ import annotations

from enum import StrEnum

import pytest
import yaml

from aios_lab.routes.events import SCHEMAS
from aios_lab.wire import RunState, SliceState


@pytest.mark.parametrize(("schema", "states"), [("run", RunState), ("slice", SliceState)])
def test_each_state_can_be_told(schema: str, states: type[StrEnum]) -> None:
    known = yaml.safe_load((SCHEMAS / f"{schema}.yaml").read_text())["properties"]["state"]["enum"]
    assert known == [*states]
