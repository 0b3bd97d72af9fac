"""The kernel's side of a run: it is begun here, handed to its leader, and heard of until it ends."""
