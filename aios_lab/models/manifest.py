"""A bundle's manifest: the sha256 of every file, and of the manifest itself. Needs no torch."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import BadBundle, ModelError

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
RECIPE = "recipe.json"
EVALUATION = "evaluation.safetensors"
FORMAT = 1

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)+")
_MANIFEST_LIMIT = 1 << 20  # bytes


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and no spaces, in UTF-8: the same data always gives the same bytes."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_file(path: Path) -> str:
    """The hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> str:
    """Write ``manifest.json`` over the files of ``folder``; returns the digest, its canonical sha256."""
    files = {
        path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    body = canonical({"format": FORMAT, "files": files})
    (folder / MANIFEST).write_bytes(body)
    return hashlib.sha256(body).hexdigest()


def read_manifest(folder: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """``({file: {"sha256", "bytes"}}, digest)`` as written; the files themselves are not looked at.

    Raises:
        BadBundle: there is no manifest, or it is not one.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MANIFEST_LIMIT:
            raise _no_bundle(folder)
        data = json.loads(path.read_bytes())
        files = {str(name): {"sha256": str(about["sha256"]), "bytes": int(about["bytes"])}
                 for name, about in data["files"].items()}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_bundle(folder) from error
    if data.get("format") != FORMAT or not {WEIGHTS, RECIPE} <= set(files):
        raise _no_bundle(folder)
    return files, hashlib.sha256(canonical({"format": FORMAT, "files": files})).hexdigest()


def verify(folder: Path, expected: str | None = None) -> str:
    """Compare every file with the manifest, and the manifest with ``expected``; returns the digest.

    Raises:
        BadBundle: something is missing, was altered, or is a link.
    """
    files, digest = read_manifest(folder)
    if expected is not None and digest != expected:
        raise _altered(folder, MANIFEST)
    for name, about in files.items():
        path = folder / name
        if not _FILE.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise _altered(folder, name)
        if path.stat().st_size != about["bytes"] or sha256_file(path) != about["sha256"]:
            raise _altered(folder, name)
    return digest


def _no_bundle(folder: Path) -> BadBundle:
    return BadBundle(
        f"'{folder}' holds no complete model bundle.",
        "Save the model again; a bundle is a folder with model.safetensors, recipe.json and manifest.json.",
    )


def _altered(folder: Path, name: str) -> BadBundle:
    return BadBundle(
        f"The model in '{folder}' was altered after it was saved: {name} does not match its recorded digest.",
        "Do not use it. Load another version, or restore the folder from a backup.",
        reason="tampered",
    )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target``: takes its place when the block ends well, vanishes when not.

    Everything is flushed to disk before the rename, so a crash leaves either the old folder, the new one or,
    for an instant between two renames, the old one under a name ending in ``.old``.

    Raises:
        ModelError: the disk is full or the folder cannot be written.
    """
    mark = f".{target.name}.{secrets.token_hex(4)}"
    temporary = target.with_name(f"{mark}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _flush(temporary)
        _replace(temporary, target, target.with_name(f"{mark}.old"))
    except OSError as error:
        raise disk_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, target: Path, aside: Path) -> None:
    if target.exists():
        target.rename(aside)
    temporary.rename(target)
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(target: Path, error: OSError) -> ModelError:
    """What an error of the file system means for somebody who wants to store a model."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelError(
            422, f"The disk is full: the model could not be written to '{target}'.", "disk_full",
            "Free some space and try again; nothing was changed.",
        )  # fmt: skip
    return ModelError(
        422, f"The model could not be written to '{target}': {error.strerror or error}.", "not_writable",
        "Check that the folder exists and that you may write to it.",
    )  # fmt: skip
