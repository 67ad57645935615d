"""How fast a device trains a study's networks: measured on this machine, or predicted by a model for another device."""
