"""The one interface of data for training: what a user gives is prepared once, then opened by each rank."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from aios_lab.training.errors import CannotTrain

if TYPE_CHECKING:
    from distributed import Client

FOLDER = "data"  # of a run's folder: what only the living run needs


@dataclass(frozen=True, slots=True)
class Description:
    """What there is: ``rows`` samples, in ``parts`` of which each is read as a whole; ``where`` says what it
    was made of."""

    kind: str
    where: str
    rows: int
    columns: tuple[str, ...] = ()
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Digest:
    """Stable for the same data. ``by`` says what was digested: ``sha256`` (the content), ``pickle`` (the
    pickled object), ``files-etag``, ``files-time`` or ``files-size`` (names and sizes, with entity tags or
    times where there are some)."""

    value: str
    by: str

    def __str__(self) -> str:
        return f"{self.by}:{self.value}"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where data is prepared: ``folder`` is a folder of the run, which all ranks must see; ``say`` shows how
    far it is, and may raise to end it."""

    folder: Path
    client: Client
    say: Callable[[str], None]


def clear(run_folder: Path) -> None:
    """Remove the data that was prepared for a run, when it has ended. Ranks that have it open keep it."""
    shutil.rmtree(run_folder / FOLDER, ignore_errors=True)


class Source(Protocol):
    """Data that ranks can open. It travels to them by pickle, so it is small."""

    def describe(self) -> Description: ...

    def digest(self) -> Digest: ...

    def open(self, rank: int, world: int) -> Any:
        """The rank's own view: a map-style ``torch.utils.data.Dataset`` that reads what it is asked for."""


class Given(Protocol):
    """Data as a user gave it, looked at and found possible."""

    def prepare(self, workshop: Workshop) -> Source:
        """Make it readable by ranks.

        Raises:
            CannotTrain: it is not what it seemed, or cannot be read.
        """


def refuse(text: str) -> NoReturn:
    raise CannotTrain(text)


@contextmanager
def needs(package: str, what: str) -> Iterator[None]:
    """Raises CannotTrain, which says what to install, where an import of ``package`` fails."""
    try:
        yield
    except ImportError as error:
        raise CannotTrain(
            f"{what} needs {package}, which is not installed: pip install {package}."
        ) from error


def size(count: float) -> str:
    """Bytes for people: ``1.5 MB``."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        del units[0]
    unit = units[0]
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
