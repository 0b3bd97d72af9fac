"""Data for training: whatever holds samples is looked at, prepared once, and opened by each rank.

``find.look`` says what a user's data is, as a ``Given``; ``prepare`` makes it a ``Source``, which travels to
the ranks. ``describe`` and ``digest`` tell the record what it is; ``open`` gives a rank its dataset.
"""

from aios_lab.training.data.files import Files
from aios_lab.training.data.source import Description, Digest, Given, Source, Workshop, clear

__all__ = ["Description", "Digest", "Files", "Given", "Source", "Workshop", "clear"]
