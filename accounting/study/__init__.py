"""How a study's files are read."""
