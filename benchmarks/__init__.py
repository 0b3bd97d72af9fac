"""Side by side with peers, in one run. Each module has ``measure() -> Figure``."""
