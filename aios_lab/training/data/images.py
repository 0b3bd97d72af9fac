"""Image files: a rank reads and decodes those that it needs."""

from __future__ import annotations

from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aios_lab.training.data.files import Files, Listing
from aios_lab.training.data.source import Description, Digest, Source, Workshop, needs, refuse

if TYPE_CHECKING:
    import torch


class ImageFiles:
    """Images, which belong to classes when each lies in a sub-folder."""

    def __init__(self, listing: Listing, files: Files) -> None:
        with needs("pillow", "Reading images"):
            import PIL.Image  # noqa: F401  # only to find it missing before a run begins
        if files.columns is not None or files.target is not None:
            refuse("columns= and target= are for tables: an image has its sub-folder's name as class.")
        if files.size is not None and not (len(files.size) == 2 and all(n >= 1 for n in files.size)):
            refuse(f"size={files.size!r} is not possible: give (height, width) in pixels.")
        self._listing, self._size = listing, files.size

    def prepare(self, workshop: Workshop) -> Source:
        where, digest = self._listing.where, self._listing.digest()
        return Images(self._listing.reachable(workshop), where, digest, self._size)


class Images:
    """Image files, as a source."""

    def __init__(self, listing: Listing, where: str, digest: Digest, size: tuple[int, int] | None) -> None:
        self.filesystem, self.root, self.names = listing.filesystem, listing.root, listing.names
        self.size = size
        self._where, self._digest = where, digest
        folders = [PurePosixPath(name).parts[0] if "/" in name else "" for name in self.names]
        self.classes = sorted(set(folders)) if all(folders) else []
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = [numbers[folder] for folder in folders] if self.classes else []

    def describe(self) -> Description:
        where = f"{self._where}, {len(self.classes):,} classes" if self.classes else self._where
        return Description("images", where, len(self.names), tuple(self.classes), len(self.names))

    def digest(self) -> Digest:
        return self._digest

    def open(self, rank: int, world: int) -> Any:
        from aios_lab.training.data.pictures import Pictures

        return Pictures(self, world)

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """One image as a tensor, and the size of its file."""
        import numpy as np
        import torch
        from PIL import Image, UnidentifiedImageError

        path = f"{self.root}/{self.names[index]}"
        data = self.filesystem.cat_file(path)
        try:
            with Image.open(BytesIO(data)) as image:
                picture = image.convert("RGB")
                if self.size is not None:
                    picture = picture.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} is no image that can be read: {error}") from error
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
        return values, len(data)
