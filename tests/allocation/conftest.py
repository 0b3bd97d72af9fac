"""How many examples the properties of the allocation core are tried on: many where `make soak` runs them."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from hypothesis import is_hypothesis_test, settings

settings.register_profile("quick", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile("nightly" if os.environ.get("AIOS_SOAK") else "quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.soak)
