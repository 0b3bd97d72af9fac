"""Ways to make a model smaller. Each takes a loaded model and gives a new one with a decision for every layer."""

from .methods import METHODS, Compressed, Method, Settings, find

__all__ = ["METHODS", "Compressed", "Method", "Settings", "find"]
