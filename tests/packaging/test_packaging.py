"""The set-up says what is missing, and a package never carries a front end of other sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import front_end
import setup

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the front end is made of, with the build that belongs to it."""
    for folder in (*front_end.SOURCE_FOLDERS, "labextension"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in front_end.SOURCE_FILES:
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


@pytest.fixture
def without_node(tmp_path: Path) -> dict[str, str]:
    """The environment's Python and nothing else on PATH: no Node, no jlpm."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    return {**os.environ, "PATH": str(tools)}


def test_a_build_is_current_until_a_source_changes(sources: Path) -> None:
    assert front_end.is_current(sources)
    (sources / "src" / "__tests__").mkdir(exist_ok=True)
    (sources / "src" / "__tests__" / "one.test.ts").write_text("export {};\n")
    assert front_end.is_current(sources)
    with (sources / "src" / "index.ts").open("a") as file:
        file.write("// changed\n")
    assert not front_end.is_current(sources)


def test_a_file_that_is_renamed_makes_the_build_stale(sources: Path) -> None:
    (sources / "style" / "base.css").rename(sources / "style" / "other.css")
    assert not front_end.is_current(sources)


def test_a_stale_build_without_node_is_an_error_that_says_so(
    sources: Path, without_node: dict[str, str]
) -> None:
    (sources / "package.json").write_text("{}")
    with pytest.raises(front_end.FrontEndError, match="No Node"):
        front_end.build(sources, without_node)
    assert not front_end.is_current(sources)


@pytest.mark.parametrize(
    ("version", "good"),
    [("v18.20.0", False), ("v20.18.3", False), ("v20.19.0", True), ("v21.7.0", False), ("v22.11.0", False),
     ("v22.12.0", True), ("v24.1.0", True), ("nonsense", False)],
)  # fmt: skip
def test_node_must_be_one_that_the_bundler_runs_on(tmp_path: Path, version: str, good: bool) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    assert front_end.suitable_node(str(tmp_path)) == (str(node) if good else None)


def test_sdist_and_wheel_carry_the_front_end_and_build_without_node(
    tmp_path: Path, without_node: dict[str, str]
) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    made = subprocess.run([*build, str(ROOT)], env=without_node, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"labextension/sources.sha256", "src/index.ts", "scripts/front_end.py", "yarn.lock"} <= names
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = wheel.namelist()
        entry_points = next(name for name in inside if name.endswith("entry_points.txt"))
        text = wheel.read(entry_points).decode()
    assert "aios-provisioner = aios_lab.provisioner:AIOSProvisioner" in text
    front = [name for name in inside if "/share/jupyter/labextensions/aios-lab/" in name]
    assert any("/static/remoteEntry." in name for name in front)
    assert any(name.endswith("/schemas/aios-lab/package.json.orig") for name in front)
    assert any(name.endswith("/etc/jupyter/jupyter_server_config.d/aios_lab.json") for name in inside)


def test_a_python_too_old_is_named_with_what_to_do(without_node: dict[str, str]) -> None:
    as_old = (
        "import sys; sys.version_info = (3, 9, 1, 'final', 0); sys.argv = ['setup.py', 'lab']; "
        "import setup; sys.exit(setup.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", as_old],
        cwd=ROOT / "scripts",
        env=without_node,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "PYTHON=" in done.stderr


def test_too_little_disk_is_said_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "FREE_GB", 10**9)
    with pytest.raises(setup.SetupError, match=r"only [\d.]+ GB are free on the disk of .*larger disk"):
        setup.check_disk()
