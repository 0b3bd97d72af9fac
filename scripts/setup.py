"""Set up ``.venv`` for ``make lab`` or ``make test``: quick when nothing changed, clear when it cannot.

Standard library only, and written so that an old Python can still say that it is too old.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import front_end

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "aios-setup.json"
CONSTRAINTS = ROOT / "constraints.txt"
LINK = VENV / "share" / "jupyter" / "labextensions" / "aios-lab"

OLDEST = (3, 11)
FREE_GB = 6
BUILD_TOOLS = ["hatchling", "hatch-nodejs-version", "editables", front_end.BUILDER]
EXTRAS = {"lab": ["examples"], "test": ["examples", "test"], "bench": ["examples", "test", "bench"]}
# What the installed environment depends on; the sources themselves are used where they lie.
INSTALLED_FROM = [
    "pyproject.toml",
    "constraints.txt",
    "install.json",
    "scripts/hatch_build.py",
    "scripts/setup.py",
]


class SetupError(Exception):
    """The set-up cannot go on; the text says what is missing and what to do."""


def step(text: str) -> None:
    print(f"==> {text}", flush=True)


def check_python() -> None:
    """Go on with a newer Python when this one is too old and there is one on PATH."""
    if sys.version_info >= OLDEST:
        return
    for minor in (14, 13, 12, 11):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, *sys.argv])
    raise SetupError(
        f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, but {sys.executable} is "
        f"{sys.version_info[0]}.{sys.version_info[1]} and no newer one is on PATH. Install one, or name it: "
        "make lab PYTHON=/path/to/python3.12"
    )


def check_disk() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < FREE_GB:
        raise SetupError(
            f"The environment needs about {FREE_GB} GB, but only {free:.1f} GB are free on the disk of "
            f"{ROOT}. Free some, or clone the repository to a larger disk."
        )


def cuda_extra() -> list[str]:
    """Return the extra for the installed NVIDIA driver, asking NVML; nothing where there is no driver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    version = ctypes.c_int()
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(version)):
        return []
    generation = version.value // 1000
    return [f"cuda{min(generation, 13)}"] if generation >= 12 else []


def make_environment() -> None:
    if PYTHON.exists() and _answers(
        [str(PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
    ):
        return
    step(f"Making the environment {VENV.name} with Python {sys.version_info[0]}.{sys.version_info[1]}")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False).returncode:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment (see above). On Debian and Ubuntu the venv "
            "module is a package of its own: apt-get install python3-venv. Or name another Python: "
            "make lab PYTHON=/path/to/python3.12"
        )


def _answers(command: list[str]) -> bool:
    return (
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
        == 0
    )


def environment() -> dict[str, str]:
    """Return the variables for commands of the environment: its programs first, everything pinned."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV), "PIP_CONSTRAINT": str(CONSTRAINTS)}


def install(extras: list[str]) -> None:
    """Install the package, editable, with ``extras``, unless that was done before with the same files."""
    made_of = front_end.digest(ROOT, [ROOT / name for name in INSTALLED_FROM if (ROOT / name).is_file()])
    before = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    if before.get("made_of") == made_of and set(extras) <= set(before.get("extras", [])):
        return
    extras = sorted({*extras, *before.get("extras", [])})
    check_disk()
    STAMP.unlink(missing_ok=True)
    if LINK.is_symlink():  # pip would delete the built files behind the link
        LINK.unlink()
    tools = list(BUILD_TOOLS)
    if front_end.suitable_node() is None:
        tools.append(front_end.NODE_PACKAGE)
    step("Installing the build tools" + (", with Node" if front_end.NODE_PACKAGE in tools else ""))
    _pip(*tools)
    build_front_end()
    step(f"Installing AIOS Lab with {', '.join(extras)}: some minutes the first time")
    _pip("--no-build-isolation", "--editable", f"{ROOT}[{','.join(extras)}]")
    STAMP.write_text(json.dumps({"made_of": made_of, "extras": extras}))


def _pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    pip = subprocess.Popen([*command, *arguments], env=environment(), stdout=subprocess.PIPE, text=True)
    for line in pip.stdout or ():
        if not line.startswith("Requirement already satisfied"):
            print(f"    {line}", end="", flush=True)
    if pip.wait():
        raise SetupError(
            "pip could not install what is needed (see above). When a download failed, check the network and "
            "run the same command again: what is there already is kept. When a package has no build for this "
            "Python, name another one: make lab PYTHON=/path/to/python3.12"
        )


def build_front_end() -> None:
    """Build ``labextension/`` when its sources changed."""
    if front_end.is_current(ROOT):
        return
    step("Building the front end: a minute or two")
    _with_node(front_end.build)


def install_test_tools() -> None:
    """Bring the front end's test tools, which a build that is current does without."""
    if not front_end.packages_are_current(ROOT):
        step("Installing the front end's test tools")
        _with_node(front_end.install_packages)


def _with_node(action: Callable[[Path, dict[str, str]], None]) -> None:
    env = environment()
    if front_end.suitable_node(env["PATH"]) is None:
        _pip(front_end.NODE_PACKAGE)
    try:
        action(ROOT, env)
    except front_end.FrontEndError as error:
        raise SetupError(str(error)) from error


def link_front_end() -> None:
    """Let JupyterLab read the front end where it is built, so that a rebuild shows after a reload."""
    target = ROOT / "labextension"
    if LINK.is_symlink() and LINK.resolve() == target:
        return
    if LINK.is_symlink():
        LINK.unlink()
    shutil.rmtree(LINK, ignore_errors=True)
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(target)


def main() -> int:
    parser = argparse.ArgumentParser(description="Set up .venv.")
    parser.add_argument("purpose", choices=sorted(EXTRAS))
    purpose = parser.parse_args().purpose
    begun = time.monotonic()
    try:
        check_python()
        make_environment()
        install(EXTRAS[purpose] + cuda_extra())
        build_front_end()
        if purpose != "lab":
            install_test_tools()
        link_front_end()
    except SetupError as error:
        print(f"\nSet-up stopped. {error}", file=sys.stderr)
        return 1
    step(f"Ready ({time.monotonic() - begun:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
