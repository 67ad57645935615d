"""The harness: the only package that spends device time, does I/O on studies and knows Ray."""
