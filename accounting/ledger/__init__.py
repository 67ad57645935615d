"""The append-only record of a study: written, chained, read, and checked for what is missing."""
