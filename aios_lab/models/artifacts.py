"""Where bundles lie: one folder a digest, so that a model is kept once and never overwritten."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import bundle, manifest
from .bundle import Bundle
from .errors import BadBundle


class Artifacts:
    """A folder of bundles by digest."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder on the same file system for bundles in the making; gone afterwards.

        Raises:
            ModelError: the folder of bundles cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        except OSError as error:
            raise manifest.disk_error(self.root, error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def path(self, digest: str) -> Path:
        """Where the bundle of that digest lies, or would lie."""
        return self.root / digest

    def adopt(self, made: Bundle) -> Path:
        """Move a bundle from a workspace to its place; one that lies there intact already stays."""
        target = self.path(made.digest)
        with self._locked(made.digest):
            if not self.holds(made.digest):
                with manifest.new_folder(target) as temporary:
                    temporary.rmdir()
                    made.folder.rename(temporary)
        return target

    def holds(self, digest: str) -> bool:
        """Whether the bundle is there and intact."""
        try:
            return manifest.verify(self.path(digest), digest) == digest
        except BadBundle:
            return False

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        with (self.root / f".lock-{digest[:2]}").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def copy(source: Path, target: Path) -> Bundle:
    """Copy a bundle's own files, and only those; the copy is verified.

    Raises:
        BadBundle: the source is incomplete or was altered.
        ModelError: the disk is full.
    """
    files, digest = manifest.read_manifest(source)
    manifest.verify(source)
    try:
        target.mkdir()
        for name in (*files, manifest.MANIFEST):
            shutil.copyfile(source / name, target / name, follow_symlinks=False)
    except OSError as error:
        raise manifest.disk_error(target, error) from error
    return bundle.read(target, digest=digest)
