"""One attempt at one job, by kind of work."""
