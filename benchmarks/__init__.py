"""Side by side with peers or with a limit, in one run. Each module has ``measure() -> list[Figure]``."""

import sys
from pathlib import Path

# The live server and the cluster that carries plans out are those of the tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
