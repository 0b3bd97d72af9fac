"""Fixtures of pytest-jupyter for every Python test, with a server that lets nobody in by oversight."""

from __future__ import annotations

import signal

import pytest
from traitlets.config import Config

pytest_plugins = ["pytest_jupyter.jupyter_server"]

# A shell that runs the tests in the background has SIGINT ignored, and all processes below it inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def jp_server_config() -> Config:
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"aios_lab": True},
                "allow_unauthenticated_access": False,
                # pytest-jupyter's server keeps the default ping interval; this silences a warning about it.
                "tornado_settings": {"ws_ping_timeout": 30000},
            }
        }
    )
