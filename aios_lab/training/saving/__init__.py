"""Checkpoints: written beside the training, whole or not at all, read by any number of ranks."""
