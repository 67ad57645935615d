"""Which job is next, and which must be run again."""
