"""How ranks work together on one model. Only ranks import more of it than ``base``."""
