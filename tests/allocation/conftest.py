"""How many examples the properties of the allocation core are tried on."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile("nightly" if os.environ.get("AIOS_SOAK") else "quick")
