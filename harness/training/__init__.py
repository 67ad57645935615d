"""The training loop, and the state that it saves at the end of an epoch."""
