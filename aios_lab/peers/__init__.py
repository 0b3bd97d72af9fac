"""Several servers of one user and one broker: who has it, who uses it, and who takes over."""

from aios_lab.peers.following import Peers
from aios_lab.peers.leading import Leading
from aios_lab.peers.rendezvous import listen, meeting_place

__all__ = ["Leading", "Peers", "listen", "meeting_place"]
