"""The harness: the only package that spends device time, writes to a study's folder, or imports Ray."""
