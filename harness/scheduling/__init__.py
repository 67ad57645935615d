"""Which job runs next, and which must be run again."""
