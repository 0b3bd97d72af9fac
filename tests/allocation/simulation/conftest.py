"""The published tables need traces that only ``make soak`` has."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "AIOS_SOAK" in os.environ else ["test_published_*.py"]
