"""The training loop, and its state at the end of an epoch."""
