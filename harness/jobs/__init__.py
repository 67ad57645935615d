"""The unit that is scheduled and metered: a job, its outcome, and its files."""
