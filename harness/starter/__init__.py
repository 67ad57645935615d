"""The command ``init``: a first config for a user's own images and network."""
