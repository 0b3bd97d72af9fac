"""Files to train on, wherever fsspec finds them: what the user says of them, and what is there."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from aios_lab.training.data.source import Digest, Given, Workshop, counted, refuse

FORMATS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "images": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
}
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")  # as filesystems call them


@dataclass(frozen=True, slots=True)
class Files:
    """Parquet, CSV or image files to train on, as ``data=Files("s3://bucket/train", target="label")``.

    ``path`` is a file, a folder, a pattern such as ``part-*.csv`` or a list of files, as a path or a URL.
    A sample of a table is a dict of its ``columns`` (all by default); with ``target`` it is (inputs, target),
    the inputs one float32 tensor of the other columns. A sample of an image folder is (image, number of its
    sub-folder), the image a float32 tensor of 3 × height × width from 0 to 1; ``size=(height, width)`` makes
    all images one size.
    """

    path: str | os.PathLike[str] | list[str | os.PathLike[str]]
    columns: Sequence[str] | None = None
    target: str | None = None
    size: tuple[int, int] | None = None
    format: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files that there are, in order of their names: ``filesystem`` is fsspec's, ``root`` what all lie
    under."""

    filesystem: Any
    shown: str
    root: str
    paths: tuple[str, ...]
    infos: tuple[Mapping[str, Any], ...]

    @property
    def names(self) -> list[str]:
        """The paths below the root."""
        return [path.removeprefix(self.root).lstrip("/") or PurePosixPath(path).name for path in self.paths]

    @property
    def where(self) -> str:
        return f"{self.shown} ({counted(len(self.paths), 'file')})"

    def digest(self) -> Digest:
        """By names, sizes, and entity tags where all files have one, else times where all have one."""
        kinds = {"files-etag": ("ETag", "etag"), "files-time": TIMES}
        found = {by: [_first(info, names) for info in self.infos] for by, names in kinds.items()}
        by = next((by for by, marks in found.items() if all(marks)), "files-size")
        marks = found.get(by, [""] * len(self.infos))
        lines = [
            f"{name}\t{info.get('size')}\t{mark}\n"
            for name, info, mark in zip(self.names, self.infos, marks, strict=True)
        ]
        value = hashlib.sha256("".join(lines).encode()).hexdigest()
        return Digest(value, by)

    def only(self, endings: tuple[str, ...]) -> Listing:
        kept = [n for n, path in enumerate(self.paths) if path.lower().endswith(endings)]
        paths, infos = tuple(self.paths[n] for n in kept), tuple(self.infos[n] for n in kept)
        return replace(self, paths=paths, infos=infos)

    def reachable(self, workshop: Workshop) -> Listing:
        """Files that only this process sees (``memory://``) copied to where the ranks see them."""
        if "memory" not in _protocols(self.filesystem):
            return self
        import fsspec

        folder = workshop.folder / "files"
        for name, path in zip(self.names, self.paths, strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.filesystem.get_file(path, str(folder / name))
        return replace(
            self,
            filesystem=fsspec.filesystem("file"),
            root=str(folder),
            paths=tuple(str(folder / name) for name in self.names),
        )


def found(files: Files) -> Given:
    """List the files and say what can be done with them.

    Raises:
        CannotTrain: nothing is there, a package is missing, or the files are of no kind that is read.
    """
    from aios_lab.training.data.images import ImageFiles
    from aios_lab.training.data.parquet import ParquetFiles
    from aios_lab.training.data.texts import CsvFiles

    listing = _listed(files)
    kind = files.format or _kind(listing)
    if kind not in FORMATS:
        refuse(f"format={kind!r} is not read. Use one of: {', '.join(FORMATS)}.")
    chosen = listing if files.format else listing.only(FORMATS[kind])
    if kind == "images":
        return ImageFiles(chosen, files)
    return ParquetFiles(chosen, files) if kind == "parquet" else CsvFiles(chosen, files)


def without_secrets(text: str) -> str:
    """A path or URL for the record: without a user's name and password, and without signatures."""
    if "://" not in text:
        return text
    url = urlsplit(text)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _listed(files: Files) -> Listing:
    given = files.path if isinstance(files.path, list) else [files.path]
    if not given:
        refuse("The list of files is empty.")
    texts = [os.fspath(one) for one in given]
    shown = without_secrets(texts[0]) + (f" and {len(texts) - 1} more" if len(texts) > 1 else "")
    filesystem = None
    there: dict[str, Mapping[str, Any]] = {}
    roots = []
    for text in texts:
        filesystem, path = _filesystem(text, files.storage_options)
        there |= _under(filesystem, path, text)
        roots.append(path)
    kept = {path: info for path, info in sorted(there.items()) if not _hidden(path, roots)}
    if not kept:
        refuse(f"There are no files in {shown}.")
    return Listing(filesystem, shown, _root(roots, kept), tuple(kept), tuple(kept.values()))


def _filesystem(text: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec

    protocol = text.partition("://")[0] if "://" in text else "file"
    try:
        filesystem, path = fsspec.core.url_to_fs(os.path.expanduser(text), **options)
    except ImportError as error:
        refuse(f"{text} cannot be reached: {protocol}:// needs a package that is not installed. {error}.")
    except ValueError as error:
        refuse(f"{text} cannot be reached: {error}. Use a path, or a URL such as s3://… or https://….")
    except Exception as error:  # each filesystem has errors of its own for wrong options
        refuse(f"{text} cannot be reached: {type(error).__name__}: {error}")
    return filesystem, str(path)


def _under(filesystem: Any, path: str, text: str) -> dict[str, Mapping[str, Any]]:
    """All files of a path with what is known of them."""
    try:
        if any(sign in path for sign in "*?[") and not filesystem.exists(path):
            return {p: i for p, i in filesystem.glob(path, detail=True).items() if i["type"] == "file"}
        info = filesystem.info(path)
        if info["type"] == "file":
            return {path: info}
        return dict(filesystem.find(path, detail=True))
    except FileNotFoundError:
        refuse(
            f"There is nothing at {text}. Paths are looked up from {os.getcwd()}."
            if "://" not in text and not os.path.isabs(text)
            else f"There is nothing at {text}."
        )
    except PermissionError as error:
        refuse(f"{text} cannot be read: {error.strerror or error}. See its permissions or your credentials.")
    except Exception as error:  # each filesystem has errors of its own, as of the network
        refuse(f"{text} cannot be read: {type(error).__name__}: {error}")


def _hidden(path: str, roots: Sequence[str]) -> bool:
    """Whether below what the user named it is some program's own file, such as ``_SUCCESS``."""
    root = max((one for one in roots if path.startswith(one)), key=len, default="")
    names = PurePosixPath(path.removeprefix(root)).parts
    return path != root and any(name.startswith((".", "_")) for name in names)


def _root(roots: Sequence[str], paths: Mapping[str, Any]) -> str:
    if len(roots) == 1 and roots[0] not in paths and not any(sign in roots[0] for sign in "*?["):
        return roots[0]
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _kind(listing: Listing) -> str:
    counts: Counter[str] = Counter()
    for path in listing.paths:
        counts[next((kind for kind, endings in FORMATS.items() if path.lower().endswith(endings)), "")] += 1
    kinds = [kind for kind in counts if kind]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        told = " and ".join(f"{counts[kind]} of {kind}" for kind in kinds)
        refuse(
            f"{listing.shown} has files of several kinds: {told}. "
            f"Say which: Files(path, format='{kinds[0]}')."
        )
    endings = sorted({PurePosixPath(path).suffix or PurePosixPath(path).name for path in listing.paths})
    refuse(
        f"{listing.where} holds {', '.join(endings[:5])}: these are not read. Read are "
        f"{', '.join(ending for some in FORMATS.values() for ending in some)}; "
        "for another ending say Files(path, format='csv')."
    )


def _first(info: Mapping[str, Any], names: Sequence[str]) -> str:
    return str(next((info[name] for name in names if info.get(name)), ""))


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
