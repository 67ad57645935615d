"""How fast a device trains a study's networks: measured on this machine, or said by a model for a device elsewhere."""
