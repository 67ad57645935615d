"""A study's folder: what it began with, and what may change when it is run again."""
