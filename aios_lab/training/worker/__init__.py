"""Beside each rank, in a worker of the slice: it starts the rank's process, hears it and ends it."""
