"""The dataset of an image folder. Only ranks import this: it needs torch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset

from aios_lab.training.data.reading import Count, Reading

if TYPE_CHECKING:
    from aios_lab.training.data.images import Images

READERS = 4  # images of a batch that are read at a time: most of it is waiting for the files


class Pictures(Dataset[Any]):
    """(image, label) by number, or the image alone where there are no classes."""

    def __init__(self, images: Images, world: int) -> None:
        self._images = images
        self.classes = images.classes
        self._reading = Reading(len(self), world)
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    @property
    def reading(self) -> Count:
        """What this rank has read so far."""
        return self._reading.count

    def __len__(self) -> int:
        return len(self._images.names)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        began = time.monotonic()
        read = list(self._readers().map(self._images.read, indices))
        waited = time.monotonic() - began
        self._reading.add(len(read), sum(size for _, size in read), waited=waited)
        if not self.classes:
            return [image for image, _ in read]
        return [(image, self._images.labels[index]) for (image, _), index in zip(read, indices, strict=True)]

    def _readers(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pid != os.getpid():  # threads do not survive a fork
            self._pool, self._pid = ThreadPoolExecutor(READERS, thread_name_prefix="aios-data"), os.getpid()
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_pool": None}
