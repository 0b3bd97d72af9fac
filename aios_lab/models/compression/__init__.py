"""Ways to make a model smaller. Each makes a new model of a loaded one and explains every layer."""

from .methods import METHODS, Compressed, Method, Progress, Settings, find

__all__ = ["METHODS", "Compressed", "Method", "Progress", "Settings", "find"]
