"""Inside a rank's process: the user's function, its context, and how it goes on after another world."""
