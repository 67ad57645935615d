"""The append-only record of a study: writing, chaining and reading it, and checking that nothing is missing."""
