"""What Binder would do: build in an environment of its own without Node, then run the quickstart there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live import serving
from notebooks import execute

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".aios" / "binder"


def fingerprint() -> str:
    """Changes with whatever the built environment depends on."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard",
         "aios_lab", "src", "style", "schema", "binder", "scripts",
         "pyproject.toml", "package.json", "yarn.lock", "constraints.txt"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    digest = hashlib.sha256()
    for name in sorted(listed):
        path = ROOT / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def path_without_node(environment: Path) -> str:
    """A PATH of the environment and links to what the system has, except Node."""
    tools = HOME / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir(parents=True)
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in Path(folder).glob("*") if Path(folder).is_dir() else ():
            link = tools / tool.name
            if (
                not tool.name.startswith(("node", "npm", "npx", "corepack", "yarn", "jlpm"))
                and not link.exists()
            ):
                link.symlink_to(tool)
    return f"{environment / 'bin'}{os.pathsep}{tools}"


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of an environment made as Binder makes it; kept while nothing it depends on changes."""
    environment, stamp = HOME / "env", HOME / "stamp"
    wanted = fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        if not (environment / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        env = os.environ | {"PATH": path_without_node(environment), "VIRTUAL_ENV": str(environment)}
        torch = next(
            line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")
        )
        for command in (["python", "-m", "pip", "install", "-q", torch], ["bash", "binder/postBuild"]):
            subprocess.run([shutil.which(command[0], path=env["PATH"]) or command[0], *command[1:]],
                           cwd=ROOT, env=env, check=True)  # fmt: skip
        stamp.write_text(wanted)
    return str(environment / "bin" / "python")


def test_binder_runs_the_quickstart_and_says_simulated(tmp_path: Path, python: str):
    with serving(tmp_path, python=python) as server:
        status, cluster = server.get("aios/api/status"), server.get("aios/api/cluster")
        assert status["simulated"]
        assert cluster["simulated"]
        assert cluster["capacity"]["gpus"] == 2
        _, printed = execute(server, "quickstart.ipynb")
        assert "simulated" in "\n".join(printed).lower()
        assert server.get("aios/api/runs")[0]["state"] == "finished"
        assert f"{Path(python).parent.parent}" in server.kernel("where.ipynb").run(
            "import aios_lab; print(aios_lab.__file__)"
        )


def test_the_wheel_carries_the_front_end(tmp_path: Path, python: str):
    """Built once more from the tree and installed with neither Node nor a build step."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    pinned = os.environ | {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    subprocess.run(command, check=True, env=pinned)
    [wheel] = tmp_path.glob("*.whl")
    target = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    subprocess.run(
        [str(target / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True, env={"PATH": path_without_node(target), "HOME": str(tmp_path)},
    )  # fmt: skip
    extension = target / "share" / "jupyter" / "labextensions" / "aios-lab"
    assert (extension / "package.json").exists()
    assert list((extension / "static").glob("remoteEntry*.js"))
    assert (target / "etc" / "jupyter" / "jupyter_server_config.d").is_dir()
