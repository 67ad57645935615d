"""One attempt at a job, for each kind of work."""
