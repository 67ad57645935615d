"""How long networks and their matrix products take on this machine, measured."""
