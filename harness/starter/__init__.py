"""A first config for someone's own images and network: ``prune-or-search init``."""
