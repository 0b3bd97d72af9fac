"""A run's leader, in the scheduler of the slice: which ranks there are, and when they begin again."""
