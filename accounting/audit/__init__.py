"""Whether a ledger adds up, and what is wrong where it does not."""
