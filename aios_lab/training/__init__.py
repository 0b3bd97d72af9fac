"""Distributed training over the workers of a slice: ``train`` gives a ``Run``; only ranks import torch."""

from aios_lab.training.data import Files
from aios_lab.training.errors import CannotTrain, RankFailure, Stopped, TrainingFailed
from aios_lab.training.kernel.launch import train
from aios_lab.training.kernel.run import Run
from aios_lab.training.kernel.tracker import LocalTracker, Tracker, TrackerUnavailable

__all__ = [
    "CannotTrain",
    "Files",
    "LocalTracker",
    "RankFailure",
    "Run",
    "Stopped",
    "Tracker",
    "TrackerUnavailable",
    "TrainingFailed",
    "train",
]
