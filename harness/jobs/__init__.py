"""The unit that is scheduled and metered, its outcome, and its files."""
