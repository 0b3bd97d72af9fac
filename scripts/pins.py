"""Write ``constraints.txt`` anew: the newest versions that go together, resolved but not installed.

Run it with the oldest Python that is supported: ``python3.11 scripts/pins.py [REQUIREMENT …]``, outside
``.venv``. Requirements named are kept to: ``torch==2.13.0``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import front_end
from setup import BUILD_TOOLS, CONSTRAINTS, ROOT

HEADER = """\
# Every version that `make lab` and `make test` install; written by scripts/pins.py.
# torch without a local version: it stands for the CUDA, ROCm and CPU builds alike, as the index offers.
"""


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    own = [r for r in extras["test"] if not r.startswith(project["project"]["name"])]
    tools = [*project["build-system"]["requires"], *BUILD_TOOLS, front_end.NODE_PACKAGE]
    own += [*extras["data"], *extras["examples"]]
    return [*project["project"]["dependencies"], *own, *tools, *sys.argv[1:]]


def resolve() -> dict[str, str]:
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", report.name, *requirements()], check=True)
        found = json.loads(Path(report.name).read_text())["install"]
    return {
        each["metadata"]["name"].lower().replace("_", "-"): each["metadata"]["version"].split("+")[0]
        for each in found
    }


def main() -> None:
    pins = resolve()
    CONSTRAINTS.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    print(f"wrote {len(pins)} pins to {CONSTRAINTS.name}")


if __name__ == "__main__":
    main()
