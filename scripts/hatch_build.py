"""Build hook: a wheel always carries the front end of its sources, with or without Node on the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Hatch loads this file by its path; its sibling is found only so.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import front_end


class FrontEndHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds ``labextension/`` first, unless it was built from these very sources."""

    def dependencies(self) -> list[str]:
        """Return what the build environment needs: nothing when the front end is built already."""
        if front_end.is_current(Path(self.root)):
            return []
        needed = [front_end.BUILDER]
        if front_end.suitable_node() is None:
            needed.append(front_end.NODE_PACKAGE)
        return needed

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            front_end.build(Path(self.root))
        except front_end.FrontEndError as error:
            raise SystemExit(f"The front end cannot be built. {error}") from error
        build_data["artifacts"].append("labextension")
